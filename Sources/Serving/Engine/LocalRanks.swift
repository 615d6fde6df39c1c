import Foundation
import Synchronization
public import Topology
import Transport

/// All ranks of a job as threads of this process, over a loopback fabric.
///
/// Requests take the same way as on a cluster, so what holds here holds there.
public final class LocalRanks: Sendable {
    /// Takes requests to the ranks.
    public let router: LeastLoadedRouter
    let engines: [Engine]
    private let threads: DispatchGroup
    private let fabrics: [any Fabric]

    /// Loads the model on every rank and starts the engines.
    ///
    /// - Parameters:
    ///   - ranks: How many ranks share the experts.
    ///   - note: Told what of the folder is not run, line by line.
    ///   - enter: Told what each rank does, on that rank's thread.
    public convenience init(
        _ configuration: ServingRankConfiguration, ranks: Int,
        note: @escaping @Sendable (String) -> Void = { _ in },
        enter: @escaping @Sendable (Rank, ServingRank.Phase) -> Void = { _, _ in }
    ) throws {
        try self.init(
            configuration, groups: .one(.serve, rankCount: ranks), note: note, enter: enter)
    }

    /// Loads a copy of the model on each group of ranks and starts the engines.
    ///
    /// - Parameters:
    ///   - groups: Which ranks share experts, and what they do.
    ///   - roleRule: When a group gets the other role; nil for never.
    ///   - rolesChanged: Told of it.
    public init(
        _ settings: ServingRankConfiguration, groups: RankGroupMap, roleRule: RoleRule? = nil,
        rolesChanged: @escaping @Sendable (RoleChange) -> Void = { _ in },
        note: @escaping @Sendable (String) -> Void = { _ in },
        enter: @escaping @Sendable (Rank, ServingRank.Phase) -> Void = { _, _ in }
    ) throws {
        let ranks = groups.rankCount
        var settings = settings
        if groups.handsOver { settings.makeLink = Self.makeLink }
        let configuration = settings
        try configuration.validate(
            ranks: groups.groups.map(\.rankCount).max() ?? ranks, ranksHere: ranks)
        let fabrics = try groups.groups.map { try makeLoopbackFabrics(rankCount: $0.rankCount) }
            .flatMap { $0 }
        let endpoints = Mutex([EngineEndpoint?](repeating: nil, count: ranks))
        let router = LeastLoadedRouter(
            rankCount: ranks, groups: groups, roleRule: roleRule, rolesChanged: rolesChanged
        ) { rank, bytes in
            let endpoint = endpoints.withLock { $0[rank.rawValue] }
            do { try endpoint?.receive(bytes) } catch {
                preconditionFailure("a command of this process does not decode: \(error)")
            }
        }
        let start = Start(ranks)
        let threads = DispatchGroup()
        for (index, fabric) in fabrics.enumerated() {
            threads.enter()
            let number = Rank(rawValue: index)
            let thread = Thread {
                defer { threads.leave() }
                do {
                    let rank = try ServingRank(configuration, fabric: fabric, note: note) {
                        enter(number, $0)
                    }
                    let endpoint = EngineEndpoint(rank.engine, capacity: rank.capacity) { bytes in
                        // The router answers a rank only once it knows where that is.
                        guard endpoints.withLock({ $0[index] }) != nil else { return }
                        try router.receive(bytes, from: number)
                    }
                    endpoints.withLock { $0[index] = endpoint }
                    endpoint.meetRouter()
                    start.ready(number, rank.engine)
                    try rank.run { endpoint.report($0) }
                } catch {
                    fabric.close()
                    start.failed(number, error)
                    router.lost(number, reason: "\(error)")
                }
            }
            // Deep enough for the kernels' and the parser's frames, as a main thread is.
            thread.stackSize = 8 << 20
            thread.name = "apus-\(index)"
            thread.start()
        }
        engines = try start.wait()
        self.router = router
        self.threads = threads
        self.fabrics = fabrics
    }

    /// Joins two ranks of this process, for prompts that go from one to the other.
    private static func makeLink(
        _ order: LinkOrder, _ exchange: any AddressExchange
    ) throws -> any Fabric {
        var configuration = FabricConfiguration(
            rank: exchange.rank, rankCount: exchange.rankCount, transport: .loopback)
        configuration.names = order.members
        return try makeFabric(configuration, exchange: exchange)
    }

    /// What each rank's engine has done.
    public var statistics: [EngineStatistics] { engines.map(\.statistics) }

    /// Ends the engines.
    ///
    /// Requests under way fail.
    public func stop() {
        for engine in engines { engine.stop() }
        threads.wait()
        for fabric in fabrics { fabric.close() }
    }

    /// Waits until every rank is ready or one has failed.
    private final class Start: Sendable {
        private struct State {
            var engines: [Engine?]
            var failure: (any Error)?
        }

        private let state: Mutex<State>
        private let changes = DispatchSemaphore(value: 0)

        init(_ count: Int) {
            state = Mutex(State(engines: Array(repeating: nil, count: count)))
        }

        func ready(_ rank: Rank, _ engine: Engine) {
            state.withLock { $0.engines[rank.rawValue] = engine }
            changes.signal()
        }

        func failed(_ rank: Rank, _ error: any Error) {
            state.withLock { if $0.failure == nil { $0.failure = error } }
            changes.signal()
        }

        func wait() throws -> [Engine] {
            while true {
                changes.wait()
                let (engines, failure) = state.withLock { ($0.engines, $0.failure) }
                if let failure { throw failure }
                if !engines.contains(where: { $0 == nil }) { return engines.compactMap { $0 } }
            }
        }
    }
}
