public import Logging
import NIOCore
import NIOPosix
public import Topology

/// The control plane's server: lets ranks in, watches them, and carries what they have to tell.
///
/// Everything it knows lives on one event loop; calls from other threads are sent there.
public final class Coordinator: Sendable {
    /// What the program above wants to hear.
    ///
    /// Called on the event loop: return soon.
    public struct Handlers: Sendable {
        /// Every rank entered a phase.
        public var reached: @Sendable (Phase) -> Void
        /// A rank sent application bytes.
        public var payload: @Sendable (Rank, [UInt8]) -> Void
        /// The job goes on without a rank; the others listed make no step until `recovered`.
        public var lost: @Sendable (Rank, _ reason: String, _ recovering: [Rank]) -> Void
        /// A rank that was lost is back; the ranks listed make no step until `recovered`.
        public var returned: @Sendable (Rank, _ recovering: [Rank]) -> Void
        /// A rank is about to leave on purpose, or stays after all: whether it takes requests.
        public var leaving: @Sendable (Rank, _ staysAfterAll: Bool) -> Void
        /// A rank has left on purpose; the ranks listed make no step until `recovered`.
        public var left: @Sendable (Rank, _ recovering: [Rank]) -> Void
        /// How evenly tokens lie on the ranks of each group, now and then.
        public var balanced: @Sendable ([GroupBalance]) -> Void
        /// Every living rank takes part in the epoch.
        public var recovered: @Sendable (UInt64) -> Void
        /// Ranks of a coordinator that was lost come back.
        public var takingOver: @Sendable () -> Void
        /// They are back; the ranks listed make no step until `recovered`.
        public var tookOver: @Sendable (_ recovering: [Rank]) -> Void
        /// An observer wants a trace of so many seconds, any number; the file that it is in, or
        /// why there is none, is given to the closure, by any thread.
        public var traceAsked:
            @Sendable (Int, @escaping @Sendable (Result<String, ClusterError>) -> Void) -> Void
        /// The job is over, or goes on with another coordinator (`coordinatorLost`).
        ///
        /// Called once.
        public var ended: @Sendable (JobEnd) -> Void

        /// Handlers that are all given.
        public init(
            reached: @escaping @Sendable (Phase) -> Void = { _ in },
            payload: @escaping @Sendable (Rank, [UInt8]) -> Void = { _, _ in },
            lost: @escaping @Sendable (Rank, _ reason: String, _ recovering: [Rank]) -> Void = {
                _, _, _ in
            },
            returned: @escaping @Sendable (Rank, _ recovering: [Rank]) -> Void = { _, _ in },
            leaving: @escaping @Sendable (Rank, _ staysAfterAll: Bool) -> Void = { _, _ in },
            left: @escaping @Sendable (Rank, _ recovering: [Rank]) -> Void = { _, _ in },
            recovered: @escaping @Sendable (UInt64) -> Void = { _ in },
            takingOver: @escaping @Sendable () -> Void = {},
            tookOver: @escaping @Sendable (_ recovering: [Rank]) -> Void = { _ in },
            balanced: @escaping @Sendable ([GroupBalance]) -> Void = { _ in },
            traceAsked:
                @escaping @Sendable (
                    Int, @escaping @Sendable (Result<String, ClusterError>) -> Void
                ) -> Void = { $1(.failure(.badInput("this job has no trace: it does not serve"))) },
            ended: @escaping @Sendable (JobEnd) -> Void = { _ in }
        ) {
            self.reached = reached
            self.payload = payload
            self.lost = lost
            self.returned = returned
            self.leaving = leaving
            self.left = left
            self.recovered = recovered
            self.takingOver = takingOver
            self.tookOver = tookOver
            self.balanced = balanced
            self.traceAsked = traceAsked
            self.ended = ended
        }
    }

    /// The port it listens on, also when it was asked for any.
    public let port: Int
    private let group: MultiThreadedEventLoopGroup
    private let core: NIOLoopBound<CoordinatorCore>
    private let server: any Channel
    private let timers: [RepeatedTask]

    /// Listens.
    ///
    /// - Parameter weightPort: Where this process gives the model's files; nil where it does not.
    /// - Throws: `ClusterError.badInput` when the port is in use or the address is not ours.
    public init(
        _ endpoint: Endpoint, token: ControlToken, membership: Membership.Configuration,
        handlers: Handlers, log: Logger, weightPort: Int? = nil
    ) throws(ClusterError) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        do {
            let core = try loop.submit {
                NIOLoopBound(
                    CoordinatorCore(
                        membership: membership, token: token, handlers: handlers, log: log,
                        weightPort: weightPort),
                    eventLoop: loop)
            }.wait()
            let bootstrap = ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 256)
                .childChannelOption(.writeBufferWaterMark, value: ControlChannel.waterMark)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            AuthenticationHandler(core: core.value))
                    }
                }
            server =
                endpoint.isPath
                ? try bootstrap.bind(
                    unixDomainSocketPath: endpoint.address, cleanupExistingSocketFile: true
                ).wait()
                : try bootstrap
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .bind(host: endpoint.address, port: endpoint.port).wait()
            self.core = core
            self.group = group
            self.port = server.localAddress?.port ?? endpoint.port
            timers = [
                loop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(250)) { _ in
                    core.value.tick()
                },
                loop.scheduleRepeatedTask(
                    initialDelay: .zero, delay: TimeAmount(ControlProtocol.heartbeatInterval)
                ) { _ in core.value.beat() },
            ]
        } catch {
            group.shutdownGracefully { _ in }
            throw .badInput(
                "control address \(endpoint.text) cannot be listened on:"
                    + " \(Endpoint.words(for: error))")
        }
    }

    /// Sends application bytes to a rank.
    ///
    /// Nothing happens if it is not in.
    public func send(_ bytes: [UInt8], to rank: Rank) {
        precondition(
            bytes.count <= ControlProtocol.largestPayloadBytes, "\(bytes.count) bytes to \(rank)")
        core.eventLoop.execute { self.core.value.send(bytes, to: rank) }
    }

    /// The job at this moment.
    public func snapshot() async -> JobSnapshot? {
        try? await core.eventLoop.submit { self.core.value.snapshot() }.get()
    }

    /// Lets a rank leave on purpose: the others read its experts first. Returns once it has left.
    ///
    /// - Throws: `badInput` with why it cannot leave, or stays after all; `ended` when the job is
    ///   over first.
    public func drain(_ rank: Rank) async throws {
        let promise = core.eventLoop.makePromise(of: Void.self)
        core.eventLoop.execute { self.core.value.move(rank, .leave, promise) }
        try await promise.futureResult.get()
    }

    /// Notes the role that ranks have from now on, for who watches the job.
    public func note(_ role: RankRole, of ranks: [Rank]) {
        core.eventLoop.execute { self.core.value.note(role, of: ranks) }
    }

    /// Ends the job for the reason that someone asked for it.
    public func stop() { core.eventLoop.execute { self.core.value.stop() } }

    /// Ends the job because the process that started this one is gone.
    public func orphan() { core.eventLoop.execute { self.core.value.orphan() } }

    /// Returns when the job is over, with the reason.
    ///
    /// - Throws: `command` when this coordinator did not run for so long that its ranks wait for
    ///   another one.
    public func end() async throws -> JobEnd {
        let promise = core.eventLoop.makePromise(of: JobEnd.self)
        core.eventLoop.execute { self.core.value.announceEnd(promise) }
        return try await promise.futureResult.get()
    }

    /// Closes every connection and the port.
    ///
    /// Workers are told of the end before.
    public func close() async {
        timers.forEach { $0.cancel() }
        try? await server.close().get()
        try? await group.shutdownGracefully()
    }
}
