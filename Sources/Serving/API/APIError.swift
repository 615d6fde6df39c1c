import Encoding

/// An error as clients of the OpenAI API read it.
struct APIError: Error, Equatable {
    var status: Int
    var message: String
    /// `invalid_request_error`, `not_found_error`, `server_error`, ...
    var type: String
    var parameter: String?
    var code: String?
    var retryAfterSeconds: Int?
    /// The methods that a path takes, for an answer to another one.
    var allow: [String] = []
    /// The encodings that a body may have, for an answer to another one.
    var acceptEncoding: [String] = []

    static func invalid(_ message: String, parameter: String? = nil, code: String? = nil) -> Self {
        APIError(
            status: 400, message: message, type: "invalid_request_error", parameter: parameter,
            code: code)
    }

    static func notFound(_ message: String, code: String? = nil) -> Self {
        APIError(status: 404, message: message, type: "not_found_error", code: code)
    }

    init(
        status: Int, message: String, type: String, parameter: String? = nil, code: String? = nil,
        retryAfterSeconds: Int? = nil, allow: [String] = [], acceptEncoding: [String] = []
    ) {
        self.status = status
        self.message = message
        self.type = type
        self.parameter = parameter
        self.code = code
        self.retryAfterSeconds = retryAfterSeconds
        self.allow = allow
        self.acceptEncoding = acceptEncoding
    }

    /// A client that left before its answer: counted by itself, and read by nobody.
    static let clientLeft = APIError(
        status: 499, message: "the client went away", type: "cancelled")

    /// The answer for whatever a router or an engine threw.
    init(_ error: any Error) {
        switch error {
        case let error as APIError: self = error
        case let error as ServingError: self.init(error)
        case let error as TraceError: self.init(error)
        case let error as DrainRefusal:
            self.init(
                status: 409, message: error.message, type: "invalid_request_error",
                parameter: "rank", code: "rank_stays")
        case is CancellationError: self = .clientLeft
        default:
            self.init(status: 500, message: "\(error)", type: "server_error")
        }
    }

    init(_ error: TraceError) {
        switch error {
        case .busy:
            self.init(
                status: 409, message: "\(error)", type: "invalid_request_error",
                code: "trace_under_way")
        case .ended, .noRank, .malformed:
            self.init(
                status: 503, message: "\(error)", type: "server_error", code: "unavailable",
                retryAfterSeconds: 5)
        }
    }

    init(_ error: ServingError) {
        switch error {
        case .invalidRequest(let message, let parameter):
            self = .invalid(message, parameter: parameter)
        case .overloaded(let message, let seconds):
            self.init(
                status: 429, message: message, type: "rate_limit_error", code: "overloaded",
                retryAfterSeconds: seconds)
        case .draining:
            self.init(
                status: 503, message: error.message, type: "server_error", code: "draining",
                retryAfterSeconds: 5)
        case .unavailable(let message), .rankLost(let message):
            self.init(
                status: 503, message: message, type: "server_error", code: "unavailable",
                retryAfterSeconds: 5)
        case .engine(let message), .memory(let message), .configuration(let message):
            self.init(status: 500, message: message, type: "server_error", code: "engine")
        }
    }

    /// `{"error": {...}}`.
    var body: JSONValue {
        [
            "error": [
                "message": .string(message), "type": .string(type), "param": .optional(parameter),
                "code": .optional(code),
            ]
        ]
    }
}
