import NIOCore

/// One connection that proved to have the token.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ControlFrame

    private let core: CoordinatorCore
    private let role: Handshake.Role
    private var id: ConnectionID?
    private var fault: String?

    init(core: CoordinatorCore, role: Handshake.Role) {
        self.core = core
        self.role = role
    }

    func handlerAdded(context: ChannelHandlerContext) {
        id = core.opened(context.channel, as: role)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let id { core.received(unwrapInboundIn(data), from: id) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if fault == nil { fault = Self.words(for: error) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let id { core.closed(id, reason: fault ?? "its connection closed") }
        id = nil
    }

    private static func words(for error: any Error) -> String {
        if error is DecodingError { return "it sent a frame that is no message" }
        return "\(error)"
    }
}
