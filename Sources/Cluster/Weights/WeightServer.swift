import Encoding
public import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Gives the files of a model's folder to hosts of the job that have none.
///
/// Only connections that prove that they have the job's token are answered. Files are named by
/// their numbers in a list that was made at the start, and bytes beyond one are refused.
public final class WeightServer: Sendable {
    /// The port it listens on.
    public let port: Int
    private let group: MultiThreadedEventLoopGroup
    private let listener: any Channel

    /// Listens.
    ///
    /// - Parameters:
    ///   - address: A numeric address of this machine, or that of all.
    ///   - read: Reads bytes of a file of the manifest; called from several threads.
    /// - Throws: `ClusterError.badInput` with the address and the system's words.
    public init(
        _ manifest: WeightManifest, on address: String, token: ControlToken, log: Logger,
        read: @escaping @Sendable (_ name: String, _ bytes: Range<Int>) throws -> [UInt8]
    ) throws(ClusterError) {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        do {
            let list = try manifest.encoded()
            guard list.count <= WeightProtocol.mostBytes else {
                throw ClusterError.badInput(
                    "the list of \(manifest.files.count) files has \(list.count) bytes: the limit"
                        + " is \(WeightProtocol.mostBytes)")
            }
            let giver = WeightGiver(manifest, list: list, token: token, log: log, read: read)
            listener = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 64)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(WeightHandler(giver))
                    }
                }
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .bind(host: address, port: 0).wait()
            port = listener.localAddress?.port ?? 0
        } catch {
            group.shutdownGracefully { _ in }
            if let error = error as? ClusterError { throw error }
            throw .badInput(
                "weights cannot be given to other hosts: \(address) cannot be listened on:"
                    + " \(Endpoint.words(for: error))")
        }
    }

    /// Ends every connection.
    public func close() {
        listener.close(promise: nil)
        group.shutdownGracefully { _ in }
    }
}

/// What all connections of a server share.
private final class WeightGiver: Sendable {
    private struct State {
        var pending = PendingConnections<ObjectIdentifier>()
        var channels: [ObjectIdentifier: any Channel] = [:]
        var served = 0
        var rejections = RejectionLog()
    }

    let token: ControlToken
    private let manifest: WeightManifest
    private let list: [UInt8]
    private let log: Logger
    private let read: @Sendable (String, Range<Int>) throws -> [UInt8]
    private let state = Mutex(State())
    private let began = ContinuousClock.now

    init(
        _ manifest: WeightManifest, list: [UInt8], token: ControlToken, log: Logger,
        read: @escaping @Sendable (String, Range<Int>) throws -> [UInt8]
    ) {
        self.manifest = manifest
        self.list = list
        self.token = token
        self.log = log
        self.read = read
    }

    /// A connection came, which has proved nothing.
    func came(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let evicted = state.withLock { state -> (any Channel)? in
            state.channels[id] = channel
            let other = state.pending.add(id, from: channel.remoteAddress?.ipAddress ?? "")
            return other.flatMap { state.channels[$0] }
        }
        evicted?.close(promise: nil)
    }

    /// A connection proved that it has the token.
    ///
    /// - Returns: Whether there is room for it.
    func admit(_ channel: any Channel) -> Bool {
        state.withLock { state in
            state.pending.remove(ObjectIdentifier(channel))
            guard state.served < WeightProtocol.mostConnections else { return false }
            state.served += 1
            return true
        }
    }

    func left(_ channel: any Channel, wasServed: Bool) {
        state.withLock { state in
            state.pending.remove(ObjectIdentifier(channel))
            state.channels[ObjectIdentifier(channel)] = nil
            if wasServed { state.served -= 1 }
        }
    }

    func rejected(_ channel: any Channel, _ reason: String) {
        let address = channel.remoteAddress?.ipAddress ?? "nowhere"
        let lines = state.withLock {
            $0.rejections.rejected(address, reason, now: .now - began)
        }
        for line in lines { log.warning("weights: \(line)") }
    }

    /// The answer to a request, and what follows it.
    func answer(_ request: WeightRequest, _ session: [UInt8]) -> (WeightAnswer, [UInt8]) {
        var answer: WeightAnswer
        var body: [UInt8]
        do {
            body = try bytes(request)
            let digest = Digest(of: body)
            answer = WeightAnswer(.bytes, count: body.count, digest: digest)
            if digest == request.held {
                answer = WeightAnswer(.same, count: 0, digest: digest)
                body = []
            }
        } catch {
            body = Array("\(error)".utf8.prefix(ControlProtocol.longestReasonBytes))
            answer = WeightAnswer(.refused, count: body.count, digest: Digest(of: body))
        }
        answer.proof = token.proof(of: WeightProtocol.statement(session, request, answer))
        return (answer, body)
    }

    private func bytes(_ request: WeightRequest) throws -> [UInt8] {
        guard request.file != WeightRequest.manifestFile else { return list }
        guard manifest.files.indices.contains(request.file) else {
            throw ClusterError.badInput(
                "there is no file \(request.file): the list has \(manifest.files.count)")
        }
        let file = manifest.files[request.file]
        guard request.bytes.upperBound <= file.bytes else {
            throw ClusterError.badInput(
                "\(file.name) has \(file.bytes) bytes: \(request.bytes) are not in it")
        }
        return try read(file.name, request.bytes)
    }
}

/// One connection: its handshake, then a request after the other.
private final class WeightHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let giver: WeightGiver
    private var handshake: CoordinatorHandshake
    private var isAdmitted = false
    private var isAnswering = false
    /// Requests that wait.
    private var waiting: [UInt8] = []
    private var limit: Scheduled<Void>?

    init(_ giver: WeightGiver) {
        self.giver = giver
        handshake = CoordinatorHandshake(giver.token, roles: [.receiver])
    }

    func channelActive(context: ChannelHandlerContext) {
        giver.came(context.channel)
        watch(context, ControlProtocol.authenticationLimit)
    }

    /// Closes the connection unless something is done within a limit.
    private func watch(_ context: ChannelHandlerContext, _ patience: Duration) {
        limit?.cancel()
        let channel = context.channel
        limit = context.eventLoop.scheduleTask(in: TimeAmount(patience)) {
            channel.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        while !isAdmitted, bytes.readableBytes > 0 {
            let count = min(handshake.missing, bytes.readableBytes)
            switch handshake.take(bytes.readBytes(length: count) ?? []) {
            case .wait: break
            case .send(let answer): send(answer, [], context, nil)
            case .admit:
                isAdmitted = true
                guard giver.admit(context.channel) else {
                    isAdmitted = false
                    return reject("found \(WeightProtocol.mostConnections) others", context)
                }
                watch(context, WeightProtocol.idleLimit)
            case .reject(let answer, let reason):
                if !answer.isEmpty { send(answer, [], context, nil) }
                return reject(reason, context)
            }
        }
        guard isAdmitted else { return }
        guard
            waiting.count + bytes.readableBytes
                <= WeightProtocol.mostWaiting * WeightRequest.byteCount
        else { return reject("sent more than \(WeightProtocol.mostWaiting) requests", context) }
        waiting += bytes.readBytes(length: bytes.readableBytes) ?? []
        answer(context)
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard !isAnswering, waiting.count >= WeightRequest.byteCount else { return }
        guard let request = WeightRequest(Array(waiting.prefix(WeightRequest.byteCount))) else {
            return reject("sent what is no request for weights", context)
        }
        waiting.removeFirst(WeightRequest.byteCount)
        isAnswering = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let (giver, session) = (giver, handshake.session)
        // A disk may be slow, and a digest is: other connections of the loop go on meanwhile.
        NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) {
            giver.answer(request, session)
        }.whenComplete { result in
            let (handler, context) = bound.value
            switch result {
            case .success((let head, let body)): handler.give(head, body, context)
            case .failure: context.close(promise: nil)
            }
        }
    }

    /// Sends an answer; the next request follows once it is written.
    private func give(_ head: WeightAnswer, _ body: [UInt8], _ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenSuccess {
            let (handler, context) = bound.value
            handler.isAnswering = false
            handler.watch(context, WeightProtocol.idleLimit)
            handler.answer(context)
        }
        send(head.encoded(), body, context, promise)
    }

    private func send(
        _ head: [UInt8], _ body: [UInt8], _ context: ChannelHandlerContext,
        _ promise: EventLoopPromise<Void>?
    ) {
        var buffer = context.channel.allocator.buffer(capacity: head.count + body.count)
        buffer.writeBytes(head)
        buffer.writeBytes(body)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
    }

    private func reject(_ reason: String, _ context: ChannelHandlerContext) {
        giver.rejected(context.channel, reason)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        limit?.cancel()
        giver.left(context.channel, wasServed: isAdmitted)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
