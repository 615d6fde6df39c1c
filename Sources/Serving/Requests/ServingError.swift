/// Why a request could not be served.
///
/// The place that detects it words it.
public enum ServingError: Error, Codable, Hashable, Sendable {
    /// The request asks for what the model or the limits do not allow.
    case invalidRequest(message: String, parameter: String?)
    /// No room now; try again after this many seconds.
    case overloaded(message: String, retryAfterSeconds: Int)
    /// The server is going down and takes nothing new.
    case draining
    /// A server cannot be asked, or ended before it answered.
    case unavailable(message: String)
    /// A rank was lost, or a step did not finish in time.
    case rankLost(message: String)
    /// Something in the engine failed.
    case engine(message: String)
    /// A machine has no memory for the weights that an epoch brings.
    case memory(message: String)
    /// A setting of the engine or of the API lies outside its limits; nothing was started.
    case configuration(message: String)

    /// The fact, in one line.
    public var message: String {
        switch self {
        case .invalidRequest(let message, _), .overloaded(let message, _),
            .unavailable(let message), .rankLost(let message),
            .engine(let message), .memory(let message), .configuration(let message):
            message
        case .draining: "the server is shutting down and takes no new requests"
        }
    }
}

extension ServingError: CustomStringConvertible {
    public var description: String { message }
}
