import HTTPTypes
import Hummingbird
import HummingbirdCore

/// Lets pages of other origins use the API, where the settings name them.
struct CrossOrigin: Sendable {
    /// Origins as browsers spell them, or `*`.
    let origins: [String]

    /// Seconds for which a browser need not ask again.
    private static let maxAge = 600

    /// What an answer tells the browser; nothing of an origin that is not allowed.
    func headers(for request: Request) -> HTTPFields {
        var headers = HTTPFields()
        guard !origins.isEmpty else { return headers }
        let isOpen = origins.contains("*")
        if !isOpen { headers[.vary] = "Origin" }
        guard let origin = request.headers[.origin], isOpen || origins.contains(origin) else {
            return headers
        }
        headers[.accessControlAllowOrigin] = isOpen ? "*" : origin
        headers[.accessControlExposeHeaders] = "Retry-After"
        return headers
    }

    /// The answer to `OPTIONS`: which methods there are, and to whom.
    func options(_ request: Request, methods: [String]) -> Response {
        var response = Response(status: .noContent)
        response.headers[.allow] = methods.joined(separator: ", ")
        guard headers(for: request)[.accessControlAllowOrigin] != nil,
            request.headers[.accessControlRequestMethod] != nil
        else { return response }
        response.headers[.accessControlAllowMethods] = methods.joined(separator: ", ")
        response.headers[.accessControlAllowHeaders] =
            request.headers[.accessControlRequestHeaders] ?? "authorization, content-type"
        response.headers[.accessControlMaxAge] = "\(Self.maxAge)"
        return response
    }
}
