import Logging
import NIOCore

/// Keeps strangers outside until they prove that they have the token, in a fixed number of bytes
/// and a fixed time.
final class DoorHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: CoordinatorCore
    private let log: Logger
    private var handshake: DoorHandshake
    private var timeout: Scheduled<Void>?
    private var isAdmitted = false
    private var isTurnedAway = false
    private var isCounted = false

    init(core: CoordinatorCore, log: Logger) {
        self.core = core
        self.log = log
        handshake = core.handshake()
    }

    func channelActive(context: ChannelHandlerContext) {
        guard core.mayKnock() else {
            context.close(promise: nil)
            return
        }
        isCounted = true
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(in: TimeAmount(ControlProtocol.doorLimit)) {
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
        while bytes.readableBytes > 0, !isAdmitted, !isTurnedAway {
            let count = min(handshake.missing, bytes.readableBytes)
            switch handshake.take(bytes.readBytes(length: count) ?? []) {
            case .wait: break
            case .send(let answer): send(answer, context)
            case .admit(let role): admit(as: role, context)
            case .turnAway(let answer, let reason): turnAway(answer, reason, context)
            }
        }
        if isAdmitted, bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
    }

    private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    private func turnAway(
        _ answer: [UInt8], _ reason: String, _ context: ChannelHandlerContext
    ) {
        isTurnedAway = true
        log.warning(
            "a connection from \(context.remoteAddress?.description ?? "?") \(reason)")
        if !answer.isEmpty { send(answer, context) }
        context.close(promise: nil)
    }

    private func admit(as role: Handshake.Role, _ context: ChannelHandlerContext) {
        isAdmitted = true
        leaveDoor()
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
        leaveDoor()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
        if isAdmitted { context.fireErrorCaught(error) }
    }

    private func leaveDoor() {
        timeout?.cancel()
        timeout = nil
        if isCounted { core.knockEnded() }
        isCounted = false
    }
}

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
