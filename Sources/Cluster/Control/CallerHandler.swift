import NIOCore

/// Lets both ends prove that they have the token before anything else is said.
final class CallerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let link: ControlLink
    private let attempt: Int
    private var handshake: CallerHandshake
    private var isOver = false
    private var isTrusted = false

    init(link: ControlLink, attempt: Int) {
        self.link = link
        self.attempt = attempt
        handshake = CallerHandshake(
            link.configuration.token, role: link.configuration.hello.role)
    }

    func channelActive(context: ChannelHandlerContext) {
        send(handshake.greeting.encoded(), context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if !isOver {
            let count = min(handshake.missing, bytes.readableBytes)
            switch handshake.take(bytes.readBytes(length: count) ?? []) {
            case .wait: return
            case .prove(let proof):
                isTrusted = addFraming(context) && link.adopt(context.channel, attempt)
                guard isTrusted else {
                    isOver = true
                    return context.close(promise: nil)
                }
                send(proof, context)
                // The handlers behind learn only now that the connection is open.
                context.fireChannelActive()
            // Nothing is proved yet: a rank that waits with its weights goes on to search.
            case .refused(let reason) where link.lossesSoFar == nil:
                context.fireErrorCaught(FrameError(reason))
            case .refused(let reason):
                link.received(.refusal(reason: reason), attempt: attempt)
            case .mistrust(let reason): context.fireErrorCaught(FrameError(reason))
            }
            isOver = true
        }
        if isTrusted, bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
    }

    /// From here on what comes and goes is sealed.
    private func addFraming(_ context: ChannelHandlerContext) -> Bool {
        guard let seals = handshake.seals else { return false }
        do {
            try ControlChannel.addFraming(
                to: context.pipeline.syncOperations, seals, after: self)
            return true
        } catch {
            context.fireErrorCaught(error)
            return false
        }
    }

    private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }
}

/// Hands what the coordinator says to the link.
final class LinkHandler: ChannelInboundHandler {
    typealias InboundIn = ControlFrame
    typealias OutboundOut = ControlFrame
    private let link: ControlLink
    private let hello: Hello
    private let attempt: Int
    private var fault: String?

    init(link: ControlLink, _ hello: Hello, attempt: Int) {
        self.link = link
        self.hello = hello
        self.attempt = attempt
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(.hello(hello)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        link.received(unwrapInboundIn(data), attempt: attempt)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if fault == nil { fault = "\(error)" }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        link.ended(
            .coordinatorLost(reason: fault ?? "its connection closed"), attempt: attempt)
    }
}
