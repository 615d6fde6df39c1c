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
    private var hasEnded = false

    init(_ writer: any ResponseBodyWriter, service: OpenAIService, caller: Caller) {
        self.writer = writer
        self.service = service
        self.caller = caller
    }

    mutating func write(_ value: JSONValue) async throws { try await write(.init(data: value)) }

    mutating func write(_ event: StreamEvent) async throws {
        let name = event.name.map { "event: \($0)\n" } ?? ""
        try await send("\(name)data: \(event.data.text)\n\n")
    }

    /// Writes a line that clients pass over, and that keeps the connection alive.
    mutating func comment(_ text: String) async throws { try await send(": \(text)\n\n") }

    /// Ends the stream as clients expect of one that ended well; without effect after its end.
    ///
    /// - Parameter writesDone: Whether the API ends a stream with `[DONE]`.
    mutating func finish(writesDone: Bool = true) async throws {
        guard !hasEnded else { return }
        if writesDone { try await send("data: [DONE]\n\n") }
        hasEnded = true
        try await writer.finish(nil)
    }

    /// Ends the stream with an error: never a clean end after a failure.
    mutating func fail(_ event: StreamEvent) async throws {
        guard !hasEnded else { return }
        try await write(event)
        hasEnded = true
        try await writer.finish(nil)
    }

    private mutating func send(_ event: String) async throws {
        service.connections.expect(caller.channel, within: service.limits.writeSeconds)
        defer { service.connections.moved(caller.channel) }
        try await writer.write(ByteBuffer(string: event))
    }
}
