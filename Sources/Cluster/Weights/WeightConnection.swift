import Encoding
import NIOCore
import NIOPosix
import Synchronization

/// A receiver's connection to a source of weights.
///
/// Everything but `state` lives on the connection's event loop.
final class WeightConnection: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What other threads read.
    private struct State {
        var lastHeard = ContinuousClock.now
        var isAsking = false
        var isOpen = true
        var fault: String?
    }

    /// What the event loop alone changes.
    private final class Progress {
        var handshake: CallerHandshake
        var isProved = false
        /// What came of the answer under way.
        var buffer = ByteBuffer()
        /// Requests that are not answered yet, the oldest first; the manifest has no piece.
        var asked: [(request: WeightRequest, piece: WeightPiece?)] = []
        var deal: WeightDeal?
        var context: ChannelHandlerContext?

        init(_ token: ControlToken) { handshake = CallerHandshake(token, role: .receiver) }
    }

    /// The source, for messages.
    let source: String
    private let token: ControlToken
    private let progress: NIOLoopBound<Progress>
    private let manifest: EventLoopPromise<WeightManifest>
    private let state = Mutex(State())

    private init(_ source: Endpoint, _ token: ControlToken, on loop: any EventLoop) {
        self.source = source.text
        self.token = token
        progress = NIOLoopBound(Progress(token), eventLoop: loop)
        manifest = loop.makePromise(of: WeightManifest.self)
    }

    /// Connects, proves, and asks for the list of files.
    ///
    /// - Parameter limit: For all of it.
    /// - Throws: `ClusterError.command` with the source and why not.
    static func open(
        _ source: Endpoint, _ token: ControlToken, group: MultiThreadedEventLoopGroup,
        limit: Duration
    ) throws(ClusterError) -> (connection: WeightConnection, manifest: WeightManifest) {
        let loop = group.next()
        let made = loop.submit { WeightConnection(source, token, on: loop) }
        do {
            let connection = try made.wait()
            let channel: any Channel
            do {
                channel = try ClientBootstrap(group: loop)
                    .connectTimeout(TimeAmount(limit))
                    .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(connection)
                        }
                    }
                    .connect(host: source.address, port: source.port).wait()
            } catch {
                connection.manifest.fail(error)
                throw error
            }
            let timeout = loop.scheduleTask(in: TimeAmount(limit)) {
                connection.end("did not say what it has within \(limit.seconds) s")
            }
            defer { timeout.cancel() }
            let manifest = try connection.manifest.futureResult.wait()
            _ = channel
            return (connection, manifest)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .command("\(source.text): \(Endpoint.words(for: error))")
        }
    }

    // MARK: From other threads

    /// Asks for pieces of a deal until none is open.
    func work(on deal: WeightDeal) {
        progress.eventLoop.execute { [self] in
            progress.value.deal = deal
            pull()
        }
    }

    /// Why the connection is over; nil while it is not.
    var fault: String? { state.withLock { $0.isOpen ? nil : $0.fault ?? "it closed" } }

    /// Ends a connection whose source was asked and has been silent for too long.
    func endIfSilent() {
        let isSilent = state.withLock {
            $0.isAsking && .now - $0.lastHeard > WeightProtocol.silenceLimit
        }
        guard isSilent else { return }
        let limit = WeightProtocol.silenceLimit.seconds
        progress.eventLoop.execute { self.end("was silent for \(limit) s") }
    }

    /// Ends the connection.
    func close() { progress.eventLoop.execute { self.end("is not needed any more") } }

    // MARK: On the event loop

    func channelActive(context: ChannelHandlerContext) {
        progress.value.context = context
        send(progress.value.handshake.greeting.encoded())
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        state.withLock { $0.lastHeard = .now }
        var bytes = unwrapInboundIn(data)
        if !progress.value.isProved {
            let count = min(progress.value.handshake.missing, bytes.readableBytes)
            switch progress.value.handshake.take(bytes.readBytes(length: count) ?? []) {
            case .wait: return
            case .prove(let proof):
                progress.value.isProved = true
                send(proof)
                ask(.manifest, nil)
            case .refused(let reason), .mistrust(let reason): return end(reason)
            }
        }
        progress.value.buffer.writeBuffer(&bytes)
        while progress.value.context != nil, readAnswer() {}
    }

    /// Reads an answer, if all of it is there.
    private func readAnswer() -> Bool {
        let head = WeightAnswer.byteCount
        var buffer = progress.value.buffer
        guard let bytes = buffer.readBytes(length: head) else { return false }
        guard let answer = WeightAnswer(bytes), let oldest = progress.value.asked.first else {
            end("sent what is no answer")
            return false
        }
        guard let body = buffer.readBytes(length: answer.count) else { return false }
        buffer.discardReadBytes()
        progress.value.buffer = buffer
        progress.value.asked.removeFirst()
        let session = progress.value.handshake.session
        guard WeightProtocol.isRight(body, answer, to: oldest.request, session, token) else {
            progress.value.asked.insert(oldest, at: 0)
            end("sent bytes that are not those of its proof: they were changed on the way")
            return false
        }
        take(answer, body, oldest.request, oldest.piece)
        return true
    }

    private func take(
        _ answer: WeightAnswer, _ body: [UInt8], _ request: WeightRequest, _ piece: WeightPiece?
    ) {
        switch (answer.kind, piece) {
        case (.refused, _):
            let reason = String(decoding: body, as: UTF8.self).printable(limit: 400)
            if let piece { progress.value.deal?.giveBack([piece]) }
            end("refused: \(reason)")
        case (.bytes, nil):
            do {
                manifest.succeed(try WeightManifest(decoding: body))
            } catch {
                end("\(error)")
            }
        case (.bytes, let piece?) where body.count == piece.bytes.count:
            progress.value.deal?.take(piece, body, answer.digest)
            pull()
        case (.same, let piece?) where piece.held == answer.digest && body.isEmpty:
            progress.value.deal?.take(piece, nil, answer.digest)
            pull()
        case (_, let piece):
            if let piece { progress.value.deal?.giveBack([piece]) }
            end("sent \(body.count) bytes for \(request.bytes)")
        }
        let isAsking = !progress.value.asked.isEmpty
        state.withLock { $0.isAsking = isAsking }
    }

    private func pull() {
        guard let deal = progress.value.deal, progress.value.context != nil else { return }
        while progress.value.asked.count < WeightProtocol.requestsAhead, let piece = deal.claim() {
            ask(WeightRequest(file: piece.file, bytes: piece.bytes, held: piece.held), piece)
        }
    }

    private func ask(_ request: WeightRequest, _ piece: WeightPiece?) {
        progress.value.asked.append((request, piece))
        state.withLock { state in
            if !state.isAsking { state.lastHeard = .now }
            state.isAsking = true
        }
        send(request.encoded())
    }

    private func send(_ bytes: [UInt8]) {
        guard let context = progress.value.context else { return }
        context.writeAndFlush(
            wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { end("closed the connection") }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(Endpoint.words(for: error))
    }

    /// Nothing more comes; what was asked for is dealt again.
    private func end(_ reason: String) {
        let isFirst = state.withLock { state in
            defer { state.isOpen = false }
            if state.isOpen { state.fault = reason }
            return state.isOpen
        }
        guard isFirst else { return }
        let context = progress.value.context
        progress.value.context = nil
        progress.value.deal?.giveBack(progress.value.asked.compactMap(\.piece))
        progress.value.asked = []
        manifest.fail(ClusterError.command("\(source): \(reason)"))
        context?.close(promise: nil)
    }
}
