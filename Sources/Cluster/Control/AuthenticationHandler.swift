import Logging
import NIOCore

/// Lets no frame through until the connection proved that it has the token, in a fixed number of
/// bytes and a fixed time.
final class AuthenticationHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: CoordinatorCore
    private let log: Logger
    private var handshake: CoordinatorHandshake
    private var timeout: Scheduled<Void>?
    private var isAdmitted = false
    private var isRejected = false
    private var isCounted = false

    init(core: CoordinatorCore, log: Logger) {
        self.core = core
        self.log = log
        handshake = core.handshake()
    }

    func channelActive(context: ChannelHandlerContext) {
        guard core.mayAuthenticate() else {
            context.close(promise: nil)
            return
        }
        isCounted = true
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(
            in: TimeAmount(ControlProtocol.authenticationLimit)
        ) {
            bound.value.close(promise: nil)
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
            case .send(let answer): send(answer, context)
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
        log.warning(
            "a connection from \(context.remoteAddress?.description ?? "?") \(reason)")
        if !answer.isEmpty { send(answer, context) }
        context.close(promise: nil)
    }

    private func admit(as role: Handshake.Role, _ context: ChannelHandlerContext) {
        isAdmitted = true
        leavePending()
        do {
            let pipeline = context.pipeline.syncOperations
            try pipeline.addHandler(
                ConnectionHandler(core: core, role: role), position: .after(self))
            try ControlChannel.addFraming(to: pipeline, after: self)
        } catch {
            context.fireErrorCaught(error)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        leavePending()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
        if isAdmitted { context.fireErrorCaught(error) }
    }

    private func leavePending() {
        timeout?.cancel()
        timeout = nil
        if isCounted { core.authenticationEnded() }
        isCounted = false
    }
}
