import Encoding
import Hummingbird
import HummingbirdCore

/// Reads the events of a request, the first of which may be read before an answer begins.
struct RequestStreamReader: Sendable {
    /// Which of the texts, and what happened to it.
    struct Event: Sendable {
        let index: Int
        let event: GenerationEvent
    }

    private let streams: RequestStreams
    private var first: RequestStreams.Event?

    init(_ streams: RequestStreams) { self.streams = streams }

    /// Waits for the first event.
    ///
    /// Throws what is wrong with the request, if anything.
    ///
    /// - Parameter patiently: Whether to go on waiting when nothing happens for a while.
    mutating func peek(patiently: Bool) async throws {
        var iterator = streams.events.makeAsyncIterator()
        repeat { first = try await iterator.next() } while patiently && first?.isWaiting == true
        try checkEnd(first)
    }

    /// The next event, or nil when all texts have ended.
    mutating func next() async throws -> Event? {
        while let event = try await nextOrWaiting() {
            if case .text(let index, let event) = event { return Event(index: index, event: event) }
        }
        return nil
    }

    /// The next event; the client of `stream` hears of it when there is none for a while.
    mutating func next(_ stream: inout EventStreamWriter) async throws -> Event? {
        while let event = try await nextOrWaiting() {
            switch event {
            case .text(let index, let event): return Event(index: index, event: event)
            case .waiting: try await stream.comment("waiting")
            }
        }
        return nil
    }

    /// Waits until a text has begun, whose event `next` returns.
    mutating func begin(_ stream: inout EventStreamWriter) async throws {
        while let event = try await nextOrWaiting() {
            guard event.isWaiting else {
                first = event
                return
            }
            try await stream.comment("waiting")
        }
    }

    private mutating func nextOrWaiting() async throws -> RequestStreams.Event? {
        if let first {
            self.first = nil
            return first
        }
        var iterator = streams.events.makeAsyncIterator()
        let event = try await iterator.next()
        try checkEnd(event)
        return event
    }

    /// The end of a cancelled reader's stream is no end of its texts.
    private func checkEnd(_ event: RequestStreams.Event?) throws {
        if event == nil { try Task.checkCancellation() }
    }
}

extension RequestStreams.Event {
    fileprivate var isWaiting: Bool { if case .waiting = self { true } else { false } }
}

extension OpenAIService {
    /// Submits requests and answers with what becomes of them, whole or as a stream.
    ///
    /// What is wrong with a request is known by its first event, before any header. A stream that
    /// waits for its first event gets its headers after a while all the same, because clients and
    /// proxies give up on a server that says nothing.
    func answer(
        _ requests: [GenerationRequest], streams: Bool, _ caller: Caller,
        whole: (RequestStreamReader) async throws -> JSONValue,
        parts:
            @escaping @Sendable (RequestStreamReader, inout EventStreamWriter) async throws -> Void
    ) async throws -> Response {
        let events = try await submit(
            requests, for: caller.key?.usage, of: caller.owner)
        connections.onDisconnect(of: caller.channel) { [weak events] in
            events?.end(CancellationError())
        }
        // A stream forgets the connection itself, when it ends.
        var isStream = false
        defer { if !isStream { connections.forget(caller.channel) } }
        var reader = RequestStreamReader(events)
        try await reader.peek(patiently: !streams)
        guard streams else { return .json(try await whole(reader)) }
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
                    try await stream.fail(StreamEvent(data: APIError(error).body))
                    return
                }
                try await stream.finish()
            })
    }
}
