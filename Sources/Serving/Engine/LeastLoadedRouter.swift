import Foundation
import Synchronization
public import Topology

/// Takes requests to the engines of several ranks, through whatever carries bytes to them.
///
/// A request goes to the rank with the fewest under way, the lowest of equals. A spare rank gets
/// requests when the others are full. The requests of a rank that is lost go on at others, after
/// what was told of them (`TextDealer`).
public final class LeastLoadedRouter: RequestRouter, ExpertCounting {
    struct State {
        var statistics: [EngineStatistics?]
        var capacities: [EngineCapacity]
        /// Of each rank, where tokens of its group are counted.
        var balances: [ExpertBalance?]
        /// Of each group, where tokens of its experts are counted.
        var loads: [GroupLoads] = []
        /// How often each rank sent statistics.
        var received: [Int]
        var lost: [Int: String] = [:]
        /// Ranks that are about to leave on purpose, and get no new request where others can.
        var leaving: Set<Int> = []
        /// Ranks of `lost` that left on purpose.
        var drained: Set<Int> = []
        /// Ranks that are about to take part in a new epoch.
        var recovering: Set<Int> = []
        /// Whether ranks of an earlier coordinator are still to come back.
        var isTakingOver = false
        /// Why nothing is taken any more.
        var closed: String?
        /// Prompts that one rank computes for another.
        var handovers: HandoverRouting

        /// The first spare rank of a machine gets the cores of one that is gone. It says so once it
        /// takes part in the epoch without that; the texts of that rank are dealt before.
        mutating func passCores(of rank: Int, in groups: RankGroupMap?) {
            guard !capacities[rank].isSpare else { return }
            func group(_ rank: Int) -> Rank? { groups?.group(of: Rank(rawValue: rank)).members[0] }
            let heir = capacities.indices.first {
                capacities[$0].isSpare && lost[$0] == nil && group($0) == group(rank)
                    && capacities[$0].node == capacities[rank].node
            }
            if let heir { capacities[heir].isSpare = false }
        }
    }

    let streams = EventStreams()
    private let traces = TraceCollector()
    private let send: @Sendable (Rank, [UInt8]) -> Void
    private let letLeave: @Sendable (Rank) async throws -> Void
    let state: Mutex<State>
    let rankCount: Int
    let rolesChanged: @Sendable (RoleChange) -> Void
    private let groups: RankGroupMap?

    /// Routes to ranks `0 ..< rankCount`.
    ///
    /// - Parameters:
    ///   - groups: What the ranks do; nil for ranks that all do the same.
    ///   - roleRule: When a group of prefill or decode ranks gets the other role; nil for never.
    ///   - rolesChanged: Told of a group that is about to get the other role, gets it, or does not.
    ///   - letLeave: Has a rank leave on purpose, and returns once it has left.
    ///   - send: Carries bytes to a rank; the rank's `EngineEndpoint` receives them.
    public init(
        rankCount: Int, groups: RankGroupMap? = nil, roleRule: RoleRule? = nil,
        rolesChanged: @escaping @Sendable (RoleChange) -> Void = { _ in },
        letLeave: @escaping @Sendable (Rank) async throws -> Void = {
            throw DrainRefusal(message: "\($0) is no process that may leave")
        },
        send: @escaping @Sendable (Rank, [UInt8]) -> Void
    ) {
        self.rankCount = rankCount
        self.groups = groups
        self.letLeave = letLeave
        self.rolesChanged = rolesChanged
        self.send = send
        state = Mutex(
            State(
                statistics: Array(repeating: nil, count: rankCount),
                capacities: Array(repeating: EngineCapacity(runningLimit: .max), count: rankCount),
                balances: Array(repeating: nil, count: rankCount),
                received: Array(repeating: 0, count: rankCount),
                handovers: HandoverRouting(groups, rule: roleRule)))
        if let roleRule { followLoad(every: roleRule.interval / 32) }
    }

    public func submit(
        _ request: GenerationRequest
    ) async throws -> AsyncThrowingStream<GenerationEvent, any Error> {
        guard refusal == nil, let rank = choose(streams.load(rankCount: rankCount)) else {
            throw refusal ?? .unavailable(message: "no rank is left")
        }
        let stream = streams.open(request, rank: rank) { [self] rank in
            Self.withdraw(request.id, from: rank, send)
            arrange { $0.ended(request.id) }
        }
        give(request, to: rank)
        // The job may have ended or lost the rank since the check above: nothing would end this
        // stream.
        if let refusal { streams.fail(rank: rank, refusal) }
        if let reason = state.withLock({ $0.lost[rank] }) { move(from: rank, reason) }
        return stream
    }

    /// Why nothing is taken any more.
    private var refusal: ServingError? {
        let (lost, closed, waits) = state.withLock { ($0.lost, $0.closed, $0.isTakingOver) }
        if lost.count == rankCount, let (rank, reason) = lost.min(by: { $0.key < $1.key }) {
            return .rankLost(message: "rank \(rank) left: \(reason)")
        }
        let comes = waits ? "a coordinator was lost, and this one takes its ranks back" : nil
        return (closed ?? comes).map { .unavailable(message: $0) }
    }

    private func choose(_ load: [Int]) -> Int? { candidates(load).min { load[$0] < load[$1] } }

    /// The ranks that may get a request, told how many each has.
    private func candidates(_ load: [Int]) -> [Int] {
        let (living, open) = state.withLock { state in
            let there = load.indices.filter { state.lost[$0] == nil }
            let stay = there.filter { !state.leaving.contains($0) }
            let living = state.handovers.texts(of: stay.isEmpty ? there : stay)
            let open = living.filter { rank in
                let capacity = state.capacities[rank]
                return !capacity.isSpare && load[rank] < capacity.runningLimit
                    && (state.statistics[rank]?.waiting ?? 0) == 0
            }
            return (living, open)
        }
        return open.isEmpty ? living : open
    }

    /// Gives the requests of a lost rank to the others.
    private func move(from rank: Int, _ reason: String) {
        let moved = streams.move(
            from: rank, rankCount: rankCount,
            error: .rankLost(message: "rank \(rank) left: \(reason)")
        ) { candidates($0) }
        for (request, next) in moved {
            give(request, to: next)
            // A reader that went away meanwhile withdrew it before it was there.
            if streams.rank(of: request.id) == nil {
                Self.withdraw(request.id, from: next, send)
                arrange { $0.ended(request.id) }
            }
        }
    }

    /// Sends a request to the rank that continues it.
    private func give(_ request: GenerationRequest, to rank: Int) {
        var request = request
        arrange { $0.retry() + $0.submitted(&request, to: rank) }
        Self.give(.submit(request), to: rank, send)
    }

    /// Changes who computes which prompt, and tells the ranks.
    private func arrange(
        _ change: (inout HandoverRouting) -> [HandoverRouting.Action]
    ) { tell(state.withLock { change(&$0.handovers) }) }

    func tell(_ actions: [HandoverRouting.Action]) {
        for (rank, command) in actions { Self.give(command, to: rank, send) }
    }

    public func cancel(_ id: RequestID) async {
        guard let rank = streams.rank(of: id) else { return }
        Self.withdraw(id, from: rank, send)
    }

    /// Asks every rank, and waits a little for their answers.
    public func statistics() async -> [EngineStatistics] {
        let (before, lost) = state.withLock { ($0.received, $0.lost) }
        let living = (0 ..< rankCount).filter { lost[$0] == nil }
        for rank in living { Self.give(.askStatistics, to: rank, send) }
        let limit = ContinuousClock.now + Self.statisticsPatience
        while state.withLock({ now in living.contains { now.received[$0] == before[$0] } }),
            .now < limit
        {
            do { try await Task.sleep(for: .milliseconds(2)) } catch { break }
        }
        return state.withLock { state in
            state.statistics.compactMap { statistics in
                guard var statistics else { return nil }
                statistics.expertBalance = state.balances[statistics.rank]
                return statistics
            }
        }
    }

    /// Notes how evenly tokens lie on the ranks of a group.
    ///
    /// - Parameters:
    ///   - ratios: Tokens of each rank over the mean of all.
    ///   - imbalance: Max over mean, layer by layer.
    public func note(_ ranks: [Rank], ratios: [Double], imbalance: Double) {
        state.withLock { state in
            for (rank, ratio) in zip(ranks, ratios)
            where state.balances.indices.contains(rank.rawValue) {
                state.balances[rank.rawValue] = ExpertBalance(ratio: ratio, imbalance: imbalance)
            }
        }
    }

    /// Notes how the tokens of every group lie on its experts.
    public func note(_ loads: [GroupLoads]) { state.withLock { $0.loads = loads } }

    func expertLoads() -> [GroupLoads] { state.withLock { $0.loads } }

    /// A rank that does not answer within this is shown as it last was.
    private static let statisticsPatience = Duration.milliseconds(100)

    /// Takes what a rank sent.
    ///
    /// - Throws: `DecodingError` for bytes that no endpoint of this version sends.
    public func receive(_ payload: [UInt8], from rank: Rank) throws {
        switch try JSONDecoder().decode(EngineMessage.self, from: Data(payload)) {
        case .reports(let reports):
            for report in reports {
                if streams.deliver(report, from: rank.rawValue) { arrange { $0.ended(report.id) } }
            }
        case .statistics(var statistics):
            guard (0 ..< rankCount).contains(rank.rawValue) else { return }
            // A rank knows its number in its group; the job's number tells groups apart.
            statistics.rank = rank.rawValue
            state.withLock {
                $0.statistics[rank.rawValue] = statistics
                $0.received[rank.rawValue] += 1
            }
        case .capacity(let capacity):
            guard (0 ..< rankCount).contains(rank.rawValue) else { return }
            state.withLock { $0.capacities[rank.rawValue] = capacity }
            arrange { $0.arrived(rank.rawValue) }
        case .handover(let report): arrange { $0.receive(report, from: rank.rawValue) }
        case .clock(let question, let nanoseconds):
            traces.received(clock: nanoseconds, of: rank.rawValue, question: question)
        case .recorded(let part): traces.received(part, of: rank.rawValue)
        }
    }

    /// Takes a trace of the ranks that take part.
    public func trace(seconds: Int) async throws(TraceError) -> JobTrace {
        let lost = state.withLock { $0.lost }
        let ranks = (0 ..< rankCount).filter { lost[$0] == nil }
        return try await traces.trace(seconds: seconds, ranks: ranks) { [send] in
            Self.give($1, to: $0, send)
        }
    }

    /// Ends every request: without one rank's experts no step can be made.
    public func lost(_ rank: Rank, reason: String) {
        state.withLock { state in
            for other in 0 ..< rankCount where state.lost[other] == nil {
                state.lost[other] = reason
            }
            state.lost[rank.rawValue] = reason
        }
        for other in 0 ..< rankCount {
            streams.fail(
                rank: other, .rankLost(message: "\(rank) left: \(reason)"))
        }
    }

    /// Goes on without a rank: its requests go to others, which will serve its experts too.
    ///
    /// - Parameter recovering: The ranks that cannot make a step until they have done so.
    public func goOn(without rank: Rank, reason: String, recovering: [Rank]) {
        state.withLock { state in
            state.lost[rank.rawValue] = reason
            state.statistics[rank.rawValue] = nil
            state.recovering.remove(rank.rawValue)
            state.recovering.formUnion(recovering.map(\.rawValue))
            state.passCores(of: rank.rawValue, in: groups)
        }
        arrange { $0.lost(rank.rawValue) }
        move(from: rank.rawValue, reason)
    }

    /// Goes on with a rank that is back.
    ///
    /// - Parameter recovering: The ranks that cannot make a step until they know it.
    public func goOn(with rank: Rank, recovering: [Rank]) {
        state.withLock { state in
            state.lost[rank.rawValue] = nil
            state.drained.remove(rank.rawValue)
            state.recovering.formUnion(recovering.map(\.rawValue))
        }
    }

    public func drain(rank: Int) async throws {
        guard (0 ..< rankCount).contains(rank) else {
            throw DrainRefusal(
                message: "rank \(rank) is out of range: the job has \(rankCount) ranks, from 0")
        }
        try await letLeave(Rank(rawValue: rank))
    }

    /// Notes that a rank is about to leave on purpose, or stays after all.
    public func leaves(_ rank: Rank, staysAfterAll: Bool) {
        state.withLock { state in
            if staysAfterAll {
                state.leaving.remove(rank.rawValue)
            } else {
                state.leaving.insert(rank.rawValue)
            }
        }
    }

    /// Goes on without a rank that left on purpose: what it was about to answer goes on at others.
    ///
    /// - Parameter recovering: The ranks that cannot make a step until they know it.
    public func goOn(withoutDrained rank: Rank, recovering: [Rank]) {
        state.withLock { state in
            state.leaving.remove(rank.rawValue)
            state.drained.insert(rank.rawValue)
        }
        goOn(without: rank, reason: "it was drained", recovering: recovering)
    }

    /// Notes that every rank makes steps again.
    public func recovered() { state.withLock { $0.recovering = [] } }

    /// Takes nothing until the ranks of a coordinator that was lost are back.
    public func takesOver() { state.withLock { $0.isTakingOver = true } }

    /// Goes on with the ranks that are back.
    ///
    /// - Parameter recovering: The ranks that cannot make a step until they are in a new epoch.
    public func tookOver(recovering: [Rank]) {
        state.withLock { state in
            state.isTakingOver = false
            state.recovering = Set(recovering.map(\.rawValue))
        }
    }

    public var health: ServiceHealth {
        state.withLock { state in
            if state.closed != nil || state.lost.count == rankCount { return .lost }
            let lost = state.lost.keys.filter { !state.drained.contains($0) }.sorted()
            let drained = state.drained.sorted()
            if !state.recovering.isEmpty || state.isTakingOver {
                return .recovering(lost: lost, drained: drained)
            }
            return state.lost.isEmpty ? .serving : .degraded(lost: lost, drained: drained)
        }
    }

    /// Ends every request with the reason, and refuses later ones with it.
    public func close(reason: String) {
        state.withLock { $0.closed = $0.closed ?? reason }
        for rank in 0 ..< rankCount { streams.fail(rank: rank, .unavailable(message: reason)) }
    }

    private static func withdraw(
        _ id: RequestID, from rank: Int, _ send: @Sendable (Rank, [UInt8]) -> Void
    ) { give(.cancel(id), to: rank, send) }

    private static func give(
        _ command: EngineCommand, to rank: Int, _ send: @Sendable (Rank, [UInt8]) -> Void
    ) {
        do {
            send(Rank(rawValue: rank), Array(try JSONEncoder().encode(command)))
        } catch { preconditionFailure("a command does not encode: \(error)") }
    }
}
