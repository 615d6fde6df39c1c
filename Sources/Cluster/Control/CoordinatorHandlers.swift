import Logging
import NIOCore

/// Keeps strangers outside until they show the token, in a fixed number of bytes and a fixed time.
final class PreludeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let core: CoordinatorCore
    private let log: Logger
    private var received: [UInt8] = []
    private var timeout: Scheduled<Void>?
    private var isAdmitted = false
    private var isCounted = false

    init(core: CoordinatorCore, log: Logger) {
        self.core = core
        self.log = log
    }

    func channelActive(context: ChannelHandlerContext) {
        guard core.mayKnock() else {
            context.close(promise: nil)
            return
        }
        isCounted = true
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(in: TimeAmount(ControlProtocol.preludeLimit)) {
            bound.value.close(promise: nil)
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if isAdmitted {
            context.fireChannelRead(data)
            return
        }
        let missing = Prelude.byteCount - received.count
        received += bytes.readBytes(length: min(missing, bytes.readableBytes)) ?? []
        guard received.count == Prelude.byteCount else { return }
        guard let prelude = Prelude(received), core.accepts(prelude) else {
            log.warning(
                "a connection from \(context.remoteAddress?.description ?? "?") showed no token")
            context.close(promise: nil)
            return
        }
        admit(prelude, rest: bytes, context)
    }

    private func admit(_ prelude: Prelude, rest: ByteBuffer, _ context: ChannelHandlerContext) {
        isAdmitted = true
        leaveDoor()
        do {
            let pipeline = context.pipeline.syncOperations
            try pipeline.addHandler(ConnectionHandler(core: core), position: .after(self))
            try ControlChannel.addFraming(to: pipeline, after: self)
        } catch {
            context.fireErrorCaught(error)
            context.close(promise: nil)
            return
        }
        guard prelude.version == UInt16(ControlProtocol.version) else {
            let reason =
                "protocol version differs: the coordinator has \(ControlProtocol.version),"
                + " the worker has \(prelude.version)"
            let channel = context.channel
            channel.writeAndFlush(ControlFrame.refusal(reason: reason))
                .whenComplete { _ in channel.close(promise: nil) }
            return
        }
        if rest.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
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

/// One connection that showed the token.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ControlFrame

    private let core: CoordinatorCore
    private var id: ConnectionID?
    private var fault: String?

    init(core: CoordinatorCore) { self.core = core }

    func handlerAdded(context: ChannelHandlerContext) { id = core.opened(context.channel) }

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
