/// How the HTTP API is reached.
public struct OpenAIServerConfiguration: Codable, Hashable, Sendable {
    /// The interface, numeric.
    ///
    /// Default: loopback.
    public var address = "127.0.0.1"
    /// 0 takes any free port.
    public var port = 8000
    /// Keys of which a client must send one; none lets everybody in.
    public var keys: [String] = []
    /// What requests may ask.
    public var limits = ServiceLimits()

    /// The defaults.
    public init() {}

    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    public func validate() throws(ServingError) {
        try Setting.check("port", port, 0, 65535)
        try limits.validate()
    }
}
