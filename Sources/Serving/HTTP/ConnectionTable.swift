import NIOCore
import Synchronization

/// Knows which connections are open, which clients have disconnected, and which stand still.
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
    }

    private let connections = Mutex<[ObjectIdentifier: Connection]>([:])

    var count: Int { connections.withLock { $0.count } }

    func opened(_ channel: any Channel) {
        connections.withLock { $0[ObjectIdentifier(channel)] = Connection(channel: channel) }
    }

    func closed(_ channel: any Channel) {
        disconnected(channel)
        connections.withLock { $0[ObjectIdentifier(channel)] = nil }
    }

    func disconnected(_ channel: any Channel) {
        let disconnect = connections.withLock { connections in
            defer { connections[ObjectIdentifier(channel)]?.disconnect = nil }
            return connections[ObjectIdentifier(channel)]?.disconnect
        }
        disconnect?()
    }

    /// Calls `body` once if the client goes away before `forget`.
    func onDisconnect(of channel: any Channel, _ body: @escaping @Sendable () -> Void) {
        let isHere = connections.withLock { connections in
            guard connections[ObjectIdentifier(channel)] != nil else { return false }
            connections[ObjectIdentifier(channel)]?.disconnect = body
            return true
        }
        if !isHere { body() }
    }

    func forget(_ channel: any Channel) {
        connections.withLock { $0[ObjectIdentifier(channel)]?.disconnect = nil }
    }

    /// Closes the connection unless the client moves within this time.
    func expect(_ channel: any Channel, within seconds: Int) {
        connections.withLock {
            $0[ObjectIdentifier(channel)]?.deadline = .now + .seconds(seconds)
        }
    }

    func moved(_ channel: any Channel) {
        connections.withLock { $0[ObjectIdentifier(channel)]?.deadline = nil }
    }

    /// Closes connections whose client has stood still too long.
    ///
    /// Called about once a second.
    func closeStalled() {
        let now = ContinuousClock.now
        let stalled = connections.withLock { connections in
            connections.values.filter { $0.deadline.map { $0 < now } ?? false }.map(\.channel)
        }
        for channel in stalled { channel.close(promise: nil) }
    }
}

/// Reports one connection's beginning and end to the table.
final class DisconnectHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let table: ConnectionTable

    init(_ table: ConnectionTable) { self.table = table }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { table.opened(context.channel) }
    }

    func channelActive(context: ChannelHandlerContext) {
        table.opened(context.channel)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        table.closed(context.channel)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            table.disconnected(context.channel)
        }
        context.fireUserInboundEventTriggered(event)
    }
}
