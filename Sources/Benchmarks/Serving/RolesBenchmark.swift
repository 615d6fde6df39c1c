/// A mixed load: streams that go on, and long prompts beside them.
///
/// Where the same ranks do both, each step that reads a prompt holds up every stream.
public struct RolesBenchmark: Sendable {
    /// Where the server is and what it is sent.
    public struct Configuration: Sendable {
        /// The server.
        public var host = "127.0.0.1"
        /// Its port.
        public var port = 8080
        /// Streams under way at once.
        public var streams = 32
        /// Tokens of each stream.
        public var streamTokens = 128
        /// Long prompts in all.
        public var prompts = 16
        /// Tokens of each.
        public var promptTokens = 2000
        /// Long prompts under way at once.
        public var promptsAtOnce = 2
        /// The same seed sends the same load.
        public var seed: UInt64 = 0

        /// The defaults.
        public init() {}
    }

    private let configuration: Configuration

    /// Tokens after a long prompt, so that its requests end soon after it was read.
    private static let answerTokens = 4
    /// Tokens of the prompt of a stream: too few to be worth a hand-over.
    private static let shortPrompt = 16

    /// Prepares a benchmark.
    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// Sends both loads at once and measures.
    ///
    /// - Throws: `ServingError` for a server that is not there.
    public func run() async throws -> RolesReport.Side {
        var streams = ServeBenchmark.Configuration()
        streams.host = configuration.host
        streams.port = configuration.port
        streams.seed = configuration.seed
        var prompts = streams
        streams.prompts = configuration.streams
        streams.inputTokens = Self.shortPrompt
        streams.outputTokens = configuration.streamTokens
        prompts.prompts = configuration.prompts
        prompts.inputTokens = configuration.promptTokens
        prompts.outputTokens = Self.answerTokens
        prompts.concurrency = configuration.promptsAtOnce
        prompts.seed = configuration.seed &+ 1
        let model = try await HTTPConnection.modelName(
            at: .init(host: streams.host, port: streams.port))
        let (first, second) = (ServeBenchmark(streams), ServeBenchmark(prompts))
        async let beside = second.measure(model)
        let (samples, seconds) = try await first.measure(model)
        let (others, otherSeconds) = try await beside
        return RolesReport.Side(
            streams: samples, prompts: others, seconds: max(seconds, otherSeconds))
    }
}
