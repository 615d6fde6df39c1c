/// What one request, and all of them together, may ask of the server.
public struct ServiceLimits: Codable, Hashable, Sendable {
    /// Bytes of a request's body.
    package var bodyBytes = 8 << 20
    /// Bytes of all request bodies that are held at once.
    package var bodyBytesOfAll = 256 << 20
    /// Of those, bytes for one client address.
    package var bodyBytesPerAddress = 64 << 20
    /// Bytes of all header fields of a request.
    public var headerBytes = 32 << 10
    /// Tokens of a prompt; the model's context is a further limit.
    public var promptTokens = 1 << 20
    /// Prompts in one completion request.
    public var prompts = 256
    /// Texts generated for one prompt (`n`).
    public var choices = 128
    /// Messages of a chat.
    public var messages = 4096
    /// Tools a chat may name.
    public var tools = 128
    /// Strings, or tokens, that end a text.
    package var stopStrings = 64
    /// Characters of a stop string.
    package var stopLength = 256
    /// Tokens whose logits a request may shift.
    package var logitBiases = 1024
    /// Alternatives reported per token.
    package var topLogprobs = 20
    /// Open connections, fewer where the process has few descriptors.
    ///
    /// Beyond it the longest idle one is closed for a new one; without an idle one the answer is
    /// 503.
    public var connections = 4096
    /// Open connections of one client address.
    package var connectionsPerAddress = 1024
    /// Generations under way at once, waiting ones included.
    package var generations = 1024
    /// Bytes of responses that are kept for `previous_response_id` and for being read again.
    ///
    /// Beyond it the ones used longest ago are forgotten.
    package var storedResponseBytes = 64 << 20
    /// Bytes of a file that a client sends.
    package var fileBytes = 200 << 20
    /// Bytes of all files, those that batches wrote included.
    package var allFileBytes = 4 << 30
    /// Requests of a batch.
    package var batchRequests = 50000
    /// Requests of all batches that are under way at once.
    package var batchTexts = 32
    /// Seconds a client may take to send a request, or leave a connection idle.
    package var idleSeconds = 60
    /// Seconds a reader may stand still in the middle of a stream.
    package var writeSeconds = 30
    /// Seconds of silence after which a stream that waits gets its headers, and a comment.
    package var commentSeconds = 5
    /// Seconds that generations under way get to finish after SIGTERM.
    public var drainSeconds = 30

    /// The defaults.
    public init() {}

    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    func validate() throws(ServingError) {
        let day = 86400
        try Setting.check("limits.bodyBytes", bodyBytes, 1, 1 << 30)
        try Setting.check("limits.bodyBytesOfAll", bodyBytesOfAll, bodyBytes, 1 << 40)
        try Setting.check(
            "limits.bodyBytesPerAddress", bodyBytesPerAddress, bodyBytes, bodyBytesOfAll)
        try Setting.check("limits.headerBytes", headerBytes, 1 << 10, 1 << 20)
        try Setting.check("limits.promptTokens", promptTokens, 1, 1 << 24)
        try Setting.check("limits.prompts", prompts, 1, 1 << 16)
        try Setting.check("limits.choices", choices, 1, 1 << 16)
        try Setting.check("limits.messages", messages, 1, 1 << 20)
        try Setting.check("limits.tools", tools, 0, 1 << 16)
        try Setting.check("limits.stopStrings", stopStrings, 0, 1 << 16)
        try Setting.check("limits.stopLength", stopLength, 1, 1 << 16)
        try Setting.check("limits.logitBiases", logitBiases, 0, 1 << 20)
        try Setting.check("limits.topLogprobs", topLogprobs, 0, 1 << 16)
        try Setting.check("limits.connections", connections, 1, 1 << 20)
        try Setting.check("limits.connectionsPerAddress", connectionsPerAddress, 1, 1 << 20)
        try Setting.check("limits.generations", generations, 1, 1 << 20)
        try Setting.check("limits.storedResponseBytes", storedResponseBytes, 0, 1 << 40)
        try Setting.check("limits.fileBytes", fileBytes, 1, allFileBytes)
        try Setting.check("limits.allFileBytes", allFileBytes, 1, 1 << 50)
        try Setting.check("limits.batchRequests", batchRequests, 1, 1 << 24)
        try Setting.check("limits.batchTexts", batchTexts, 1, generations)
        try Setting.check("limits.idleSeconds", idleSeconds, 1, day)
        try Setting.check("limits.writeSeconds", writeSeconds, 1, day)
        try Setting.check("limits.commentSeconds", commentSeconds, 1, day)
        try Setting.check("limits.drainSeconds", drainSeconds, 0, day)
    }
}
