import NIOCore
import Synchronization

/// Knows which connections are open, what each is doing, which clients have disconnected, and which
/// stand still.
///
/// The HTTP library reports a disconnected client to a handler only when the handler writes. A
/// generation must stop before, so each connection has a handler that watches for the client's end
/// of the stream.
final class ConnectionTable: Sendable {
    private struct Connection: Sendable {
        let channel: any Channel
        var disconnect: (@Sendable () -> Void)?
        /// When the client must have moved, while we wait for it to read or write.
        var deadline: ContinuousClock.Instant?
        /// Requests that no handler has, oldest first: clients may send ahead.
        var records: [RequestRecord] = []
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        var ledger: ConnectionLedger<ObjectIdentifier>
        var refusals: UInt64 = 0
        var closedEarly: UInt64 = 0
    }

    private let state: Mutex<State>

    init(_ limits: ConnectionLedger<ObjectIdentifier>.Limits) {
        state = Mutex(State(ledger: ConnectionLedger(limits)))
    }

    /// Takes other limits, before the first connection.
    func limit(_ limits: ConnectionLedger<ObjectIdentifier>.Limits) {
        state.withLock { $0.ledger = ConnectionLedger(limits) }
    }

    var count: Int { state.withLock { $0.connections.count } }
    /// Connections that were refused, and idle ones that were closed for others.
    var rejections: (refused: UInt64, closedEarly: UInt64) {
        state.withLock { ($0.refusals, $0.closedEarly) }
    }

    /// Adds a connection.
    ///
    /// - Returns: Why it must be refused, if it must.
    func opened(_ channel: any Channel, from address: String) -> String? {
        let id = ObjectIdentifier(channel)
        let (refusal, closing) = state.withLock { state -> (String?, (any Channel)?) in
            switch state.ledger.open(id, from: address, now: .now) {
            case .refused(let reason):
                state.refusals += 1
                return (reason, nil)
            case .admitted(let closing):
                state.connections[id] = Connection(channel: channel)
                if closing != nil { state.closedEarly += 1 }
                return (nil, closing.flatMap { state.connections[$0]?.channel })
            }
        }
        closing?.close(promise: nil)
        return refusal
    }

    func closed(_ channel: any Channel) {
        disconnected(channel)
        state.withLock { state in
            state.connections[ObjectIdentifier(channel)] = nil
            state.ledger.close(ObjectIdentifier(channel))
        }
    }

    func requestBegan(_ channel: any Channel) {
        state.withLock { $0.ledger.requestBegan(ObjectIdentifier(channel)) }
    }

    func requestEnded(_ channel: any Channel) {
        state.withLock { state in
            state.ledger.requestEnded(ObjectIdentifier(channel), now: .now)
        }
    }

    /// Keeps the record of a request for its handler.
    func keep(_ record: RequestRecord, of channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.records.append(record) }
    }

    /// The record of the next request that is handled: handlers get the requests of a connection in
    /// their order. The answer before may still be on its way.
    func nextRecord(of channel: any Channel) -> RequestRecord? {
        state.withLock { state in
            guard state.connections[ObjectIdentifier(channel)]?.records.isEmpty == false else {
                return nil
            }
            return state.connections[ObjectIdentifier(channel)]?.records.removeFirst()
        }
    }

    func disconnected(_ channel: any Channel) {
        let disconnect = state.withLock { state in
            defer { state.connections[ObjectIdentifier(channel)]?.disconnect = nil }
            return state.connections[ObjectIdentifier(channel)]?.disconnect
        }
        disconnect?()
    }

    /// Calls `body` once if the client goes away before `forget`.
    func onDisconnect(of channel: any Channel, _ body: @escaping @Sendable () -> Void) {
        let isHere = state.withLock { state in
            guard state.connections[ObjectIdentifier(channel)] != nil else { return false }
            state.connections[ObjectIdentifier(channel)]?.disconnect = body
            return true
        }
        if !isHere { body() }
    }

    func forget(_ channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.disconnect = nil }
    }

    /// Closes the connection unless the client moves within this time.
    func expect(_ channel: any Channel, within seconds: Int) {
        state.withLock {
            $0.connections[ObjectIdentifier(channel)]?.deadline = .now + .seconds(seconds)
        }
    }

    func moved(_ channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.deadline = nil }
    }

    /// Closes connections whose client has stood still too long.
    ///
    /// Called about once a second.
    func closeStalled() {
        let now = ContinuousClock.now
        let stalled = state.withLock { state in
            state.connections.values.filter { $0.deadline.map { $0 < now } ?? false }
                .map(\.channel)
        }
        for channel in stalled { channel.close(promise: nil) }
    }
}
