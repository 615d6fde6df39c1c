import NIOCore

/// Stands between the socket and HTTP: opens what the client sealed, and seals what it gets.
///
/// 1. Nothing is said before the handshake is done, which has a deadline.
/// 2. A connection that we end says so to the client (`close_notify`), so that nobody who cuts it
///    can make an answer look whole.
/// 3. A client holds nothing of ours by what it sends beyond its end (`close_notify`), and makes
///    the session itself say at most `controlBytes` once the handshake is done.
/// 4. A session holds a record of what it seals at a time: its place never shrinks.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case handshake
        case open
        case over
    }

    /// For the last byte of a handshake: long beside a slow network, short beside the time in which
    /// many connections could take all places.
    static let handshakeSeconds = 10

    /// What an open session may say of its own: answers to new keys (`KeyUpdate`) and warnings. A
    /// client that takes a new key for each terabyte needs a few hundred bytes in a year.
    static let controlBytes = 16 << 10

    /// The answer to a client that speaks HTTP without TLS.
    private static let plainAnswer: String = {
        let body = "This port speaks HTTPS: the URL begins with https://\n"
        return "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n"
            + "content-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)"
    }()

    private let session: TLSSession
    private let limit: TimeAmount
    private let onFailure: (_ reason: String, _ address: String) -> Void
    private var phase = Phase.handshake
    private var deadline: Scheduled<Void>?
    private var hasInputEnded = false
    private var saidBytes = 0
    /// Whether the client has said anything.
    private var hasInput = false
    private var address = ""

    /// - Parameters:
    ///   - handshakeSeconds: For the handshake.
    ///   - onFailure: Told why a handshake failed, and of which client; one that says nothing at
    ///     all only tried whether the port is open.
    init(
        _ session: TLSSession, handshakeSeconds: Int,
        onFailure: @escaping (_ reason: String, _ address: String) -> Void = { _, _ in }
    ) {
        self.session = session
        self.onFailure = onFailure
        limit = .seconds(Int64(handshakeSeconds))
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard deadline == nil else { return }
        let channel = context.channel
        address = ClientAddress.name(of: channel.remoteAddress)
        deadline = context.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        failed("it stood still, or its client left")
        phase = .over
        context.fireChannelInactive()
    }

    /// Tells of a handshake that ends before it is done.
    private func failed(_ reason: String) {
        if phase == .handshake, hasInput { onFailure(reason, address) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasInput = true
        guard phase != .over, !hasInputEnded else { return }
        guard session.feed(Array(unwrapInboundIn(data).readableBytesView)) else {
            return end(context)
        }
        if phase == .handshake { shakeHands(context) }
        if phase == .open { read(context) }
    }

    private func shakeHands(_ context: ChannelHandlerContext) {
        let step = session.handshake()
        switch step {
        case .done:
            phase = .open
            deadline?.cancel()
        case .waits: break
        case .plainHTTP:
            failed("the client speaks HTTP without TLS")
            phase = .over
            context.writeAndFlush(
                wrapOutboundOut(ByteBuffer(string: Self.plainAnswer)), promise: nil)
            return context.close(promise: nil)
        case .bytes, .closed, .failed:
            failed(session.reason)
            return end(context)
        }
        send(context)
    }

    private func read(_ context: ChannelHandlerContext) {
        var place = [UInt8](repeating: 0, count: TLSSession.recordBytes)
        // A handler that is told of bytes may end the connection.
        while phase == .open {
            switch session.read(into: &place) {
            case .bytes(let count):
                context.fireChannelRead(wrapInboundOut(ByteBuffer(bytes: place[..<count])))
            case .waits, .done: return answer(context)
            case .closed:
                answer(context)
                return inputEnded(context)
            case .failed, .plainHTTP: return end(context)
            }
        }
    }

    /// Sends what an open session says of its own, and ends one that is made to say too much (3).
    private func answer(_ context: ChannelHandlerContext) {
        saidBytes += send(context)
        if saidBytes > Self.controlBytes { end(context) }
    }

    /// Sends what the session has for the client: handshakes, alerts.
    ///
    /// - Returns: Bytes of it.
    @discardableResult
    private func send(_ context: ChannelHandlerContext) -> Int {
        var bytes = ByteBuffer()
        takeAll(into: &bytes)
        guard bytes.readableBytes > 0 else { return 0 }
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        return bytes.readableBytes
    }

    private func takeAll(into place: inout ByteBuffer) {
        while true {
            let bytes = session.take()
            guard !bytes.isEmpty else { return }
            place.writeBytes(bytes)
        }
    }

    /// Ends a session that cannot go on, after its alert.
    private func end(_ context: ChannelHandlerContext) {
        phase = .over
        send(context)
        context.close(promise: nil)
    }

    private func inputEnded(_ context: ChannelHandlerContext) {
        guard phase != .over, !hasInputEnded else { return }
        hasInputEnded = true
        context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        if phase == .handshake { return end(context) }
        inputEnded(context)
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        // A connection that is refused at once has no session in which it could be told (1).
        guard phase == .open else { return fail(promise) }
        var plain = unwrapOutboundIn(data)
        var sealed = ByteBuffer()
        while let piece = plain.readBytes(
            length: min(plain.readableBytes, TLSSession.recordBytes)), !piece.isEmpty
        {
            guard session.write(piece) else {
                // Half an answer that nothing ends would hold its client for ever.
                fail(promise)
                return end(context)
            }
            takeAll(into: &sealed)
        }
        context.write(wrapOutboundOut(sealed), promise: promise)
    }

    private func fail(_ promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.ioOnClosedChannel)
    }

    func close(
        context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
    ) {
        let isLast = mode == .output && hasInputEnded
        if phase == .open, mode != .input {
            session.close()
            send(context)
            if mode == .all || isLast { phase = .over }
        }
        guard isLast else { return context.close(mode: mode, promise: promise) }
        // The client has ended its side, but perhaps not of the socket: once ours has left, nothing
        // keeps the connection.
        let channel = context.channel
        let hasLeft = context.eventLoop.makePromise(of: Void.self)
        hasLeft.futureResult.whenComplete { _ in channel.close(promise: nil) }
        hasLeft.futureResult.cascade(to: promise)
        context.close(mode: .output, promise: hasLeft)
    }
}
