import Hummingbird
import HummingbirdCore

/// Reads a flight's events, the first of which may be looked at before an answer begins.
struct FlightReader: Sendable {
    private let flight: Flight
    private var first: Flight.Event?

    init(_ flight: Flight) { self.flight = flight }

    /// Waits for the first event.
    ///
    /// Throws what is wrong with the request, if anything.
    mutating func peek() async throws {
        var iterator = flight.events.makeAsyncIterator()
        first = try await iterator.next()
    }

    /// The next event, or nil when all texts have ended.
    mutating func next() async throws -> Flight.Event? {
        if let first {
            self.first = nil
            return first
        }
        var iterator = flight.events.makeAsyncIterator()
        return try await iterator.next()
    }
}

extension Desk {
    /// Sends requests off and answers with what becomes of them, whole or as a stream.
    ///
    /// Whatever is wrong with a request is known by its first event, before any header.
    func answer(
        _ requests: [GenerationRequest], streams: Bool, _ caller: Caller,
        whole: (FlightReader) async throws -> Response,
        parts: @escaping @Sendable (FlightReader, inout EventStreamWriter) async throws -> Void
    ) async throws -> Response {
        let flight = try await launch(requests)
        connections.onDeparture(of: caller.channel) { flight.abandon() }
        // A stream forgets the connection itself, when it ends.
        var isStream = false
        defer { if !isStream { connections.forget(caller.channel) } }
        var reader = FlightReader(flight)
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
        let desk = self
        return Response(
            status: .ok,
            headers: [
                .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache",
            ],
            body: ResponseBody { writer in
                var stream = EventStreamWriter(writer, desk: desk, caller: caller)
                defer { desk.connections.forget(caller.channel) }
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
