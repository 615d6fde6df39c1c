import Encoding
import NIOCore

/// Lets no frame through until the connection proved that it has the token, in a fixed number of
/// bytes and a fixed time.
final class AuthenticationHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: CoordinatorCore
    private var handshake: CoordinatorHandshake
    private var timeout: Scheduled<Void>?
    private var isAdmitted = false
    private var isRejected = false

    init(core: CoordinatorCore) {
        self.core = core
        handshake = core.handshake()
    }

    func channelActive(context: ChannelHandlerContext) {
        core.beganAuthentication(context.channel)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(
            in: TimeAmount(ControlProtocol.authenticationLimit)
        ) {
            let (handler, context) = bound.value
            let limit = ControlProtocol.authenticationLimit.seconds
            handler.reject([], "did not prove that it has the token within \(limit) s", context)
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isAdmitted {
            context.fireChannelRead(data)
            return
        }
        var bytes = unwrapInboundIn(data)
        while bytes.readableBytes > 0, !isAdmitted, !isRejected {
            let count = min(handshake.missing, bytes.readableBytes)
            switch handshake.take(bytes.readBytes(length: count) ?? []) {
            case .wait: break
            case .send(let answer):
                core.greeted(context.channel)
                send(answer, context)
            case .admit(let role): admit(as: role, context)
            case .reject(let answer, let reason): reject(answer, reason, context)
            }
        }
        if isAdmitted, bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
    }

    private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    private func reject(
        _ answer: [UInt8], _ reason: String, _ context: ChannelHandlerContext
    ) {
        isRejected = true
        core.rejected(context.channel, reason)
        if !answer.isEmpty { send(answer, context) }
        context.close(promise: nil)
    }

    private func admit(as role: Handshake.Role, _ context: ChannelHandlerContext) {
        guard let seals = handshake.seals else { return reject([], "has no keys", context) }
        isAdmitted = true
        leavePending(context.channel)
        do {
            let pipeline = context.pipeline.syncOperations
            try pipeline.addHandler(
                ConnectionHandler(core: core, role: role), position: .after(self))
            try ControlChannel.addFraming(to: pipeline, seals, after: self)
        } catch {
            context.fireErrorCaught(error)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        leavePending(context.channel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
        if isAdmitted { context.fireErrorCaught(error) }
    }

    private func leavePending(_ channel: any Channel) {
        core.endedAuthentication(channel)
        timeout?.cancel()
        timeout = nil
    }
}
