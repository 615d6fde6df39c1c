import Encoding
import Hummingbird
import HummingbirdCore
import NIOCore

/// Writes server-sent events to one client.
///
/// A client that does not read holds back only itself: its connection closes after a limit, and
/// what waits for it is bounded by the tokens it asked for.
struct EventStreamWriter {
    private var writer: any ResponseBodyWriter
    private let service: OpenAIService
    private let caller: Caller

    init(_ writer: any ResponseBodyWriter, service: OpenAIService, caller: Caller) {
        self.writer = writer
        self.service = service
        self.caller = caller
    }

    mutating func write(_ value: JSONValue) async throws {
        try await send("data: \(value.text)\n\n")
    }

    /// Writes a line that clients pass over, and that keeps the connection alive.
    mutating func comment(_ text: String) async throws { try await send(": \(text)\n\n") }

    /// Ends the stream as clients expect of one that ended well.
    mutating func finish() async throws {
        try await send("data: [DONE]\n\n")
        try await writer.finish(nil)
    }

    /// Ends the stream with an error: never a clean end after a failure.
    mutating func fail(_ error: APIError) async throws {
        try await write(error.body)
        try await writer.finish(nil)
    }

    private mutating func send(_ event: String) async throws {
        service.connections.expect(caller.channel, within: service.limits.writeSeconds)
        defer { service.connections.moved(caller.channel) }
        try await writer.write(ByteBuffer(string: event))
    }
}
