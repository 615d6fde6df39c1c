import Encoding
import NIOCore
import NIOHTTP1
import NIOPosix
import Serving

extension HTTPConnection {
    /// Sends one request and reads its answer.
    ///
    /// - Throws: `ServingError.unavailable` with the server's words for a status other than 200.
    static func value(
        _ method: HTTPMethod, _ path: String, body: String? = nil,
        headers: [(String, String)] = [], at address: Address
    ) async throws -> JSONValue {
        var (bytes, status): ([UInt8], Int) = ([], 0)
        try await send(
            method, path, body: body, headers: headers, to: address,
            on: MultiThreadedEventLoopGroup.singleton
        ) { part in
            switch part {
            case .status(let code): status = code
            case .body(let part): bytes += part.readableBytesView
            }
        }
        let value = try JSONValue.parse(bytes)
        guard status == 200 else {
            let fact = value["error"]?["message"]?.string ?? "\(value.text.prefix(200))"
            throw ServingError.unavailable(message: "\(path) answered \(status): \(fact)")
        }
        return value
    }

    /// The name of the first model that a server lists.
    static func modelName(
        at address: Address, headers: [(String, String)] = []
    ) async throws -> String {
        let answer = try await value(.GET, "/v1/models", headers: headers, at: address)
        guard let name = answer["data"]?.array?.first?["id"]?.string else {
            throw ServingError.unavailable(message: "the server lists no model: \(answer.text)")
        }
        return name
    }
}
