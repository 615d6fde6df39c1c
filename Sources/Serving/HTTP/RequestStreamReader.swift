import Hummingbird
import HummingbirdCore

/// Reads the events of a request, the first of which may be read before an answer begins.
struct RequestStreamReader: Sendable {
    private let streams: RequestStreams
    private var first: RequestStreams.Event?

    init(_ streams: RequestStreams) { self.streams = streams }

    /// Waits for the first event.
    ///
    /// Throws what is wrong with the request, if anything.
    mutating func peek() async throws {
        var iterator = streams.events.makeAsyncIterator()
        first = try await iterator.next()
    }

    /// The next event, or nil when all texts have ended.
    mutating func next() async throws -> RequestStreams.Event? {
        if let first {
            self.first = nil
            return first
        }
        var iterator = streams.events.makeAsyncIterator()
        return try await iterator.next()
    }
}

extension OpenAIService {
    /// Submits requests and answers with what becomes of them, whole or as a stream.
    ///
    /// Whatever is wrong with a request is known by its first event, before any header.
    func answer(
        _ requests: [GenerationRequest], streams: Bool, _ caller: Caller,
        whole: (RequestStreamReader) async throws -> Response,
        parts:
            @escaping @Sendable (RequestStreamReader, inout EventStreamWriter) async throws -> Void
    ) async throws -> Response {
        let events = try await submit(requests)
        connections.onDisconnect(of: caller.channel) { events.cancel() }
        // A stream forgets the connection itself, when it ends.
        var isStream = false
        defer { if !isStream { connections.forget(caller.channel) } }
        var reader = RequestStreamReader(events)
        try await reader.peek()
        guard streams else { return try await whole(reader) }
        isStream = true
        let begun = reader
        return eventStream(caller) { try await parts(begun, &$0) }
    }

    /// An answer of server-sent events.
    ///
    /// An error after the headers ends it as an error event.
    func eventStream(
        _ caller: Caller,
        _ body: @escaping @Sendable (inout EventStreamWriter) async throws -> Void
    ) -> Response {
        let service = self
        return Response(
            status: .ok,
            headers: [
                .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache",
            ],
            body: ResponseBody { writer in
                var stream = EventStreamWriter(writer, service: service, caller: caller)
                defer { service.connections.forget(caller.channel) }
                do {
                    try await body(&stream)
                } catch {
                    try await stream.fail(APIError(error))
                    return
                }
                try await stream.finish()
            })
    }
}
