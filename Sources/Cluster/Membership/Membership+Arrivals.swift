import Topology

/// How ranks come into the job, and how the job follows them from phase to phase.
extension Membership {
    mutating func arrived(
        _ id: ConnectionID, _ hello: Hello, _ now: Duration
    ) -> [Action] {
        guard let rank = hello.rank, let identity = hello.identity else { return [] }
        let waiting = takeOver?.waiting ?? []
        if let other = ranks[id] ?? waiting.first(where: { $0.id == id })?.rank {
            return [.refuse(id, reason: "this connection is \(other)'s: it says hello once")]
        }
        guard members.indices.contains(rank.rawValue) else {
            return [
                .refuse(
                    id,
                    reason: "\(rank) is out of range: the job has \(members.count) ranks")
            ]
        }
        if let difference = configuration.identity.difference(from: identity) {
            let error = "refused: \(difference)"
            members[rank.rawValue].lastError = error
            return endRecall(of: rank, reason: error) + [.refuse(id, reason: difference)]
        }
        let member = members[rank.rawValue]
        let other = hello.held == nil ? waiting.first { $0.rank == rank }?.hello : nil
        guard member.connection == nil, other == nil else {
            let (pid, node) = other.map { ($0.pid, $0.node) } ?? (member.pid, member.node)
            return [.refuse(id, reason: "\(rank) is held by process \(pid) on \(node)")]
        }
        if let held = hello.held { return cameBack(id, rank, hello, held, now) }
        guard takeOver == nil else {
            takeOver?.waiting.append((id, rank, hello))
            takeOver?.missing[rank] = "its process is gone: another one was started"
            return settle(now)
        }
        enter(rank, id, hello, now)
        members[rank.rawValue].phase = .connect
        members[rank.rawValue].since = now
        var welcome = Welcome(epoch: epoch, rankCount: members.count)
        if member.loss != nil {
            let others = living(with: rank)
            let all = ranks(ofGroup: group(of: rank)).filter { $0 != rank }
            welcome.returnsTo = JobEpoch(
                number: epoch, living: others.isEmpty ? all : others,
                placements: moved[group(of: rank)])
            welcome.kernels = kernels
        }
        return [.welcome(id, rank, welcome)] + advance(now)
    }

    /// Binds a rank to its connection.
    mutating func enter(_ rank: Rank, _ id: ConnectionID, _ hello: Hello, _ now: Duration) {
        members[rank.rawValue].connection = id
        members[rank.rawValue].node = hello.node
        members[rank.rawValue].pid = hello.pid
        members[rank.rawValue].kernels = hello.kernels
        members[rank.rawValue].lastHeard = now
        members[rank.rawValue].lastError = nil
        members[rank.rawValue].wait = nil
        ranks[id] = rank
    }

    /// Notes what every rank has, which is what the ranks take: they exchange the same offers. It
    /// stays when a rank is lost, as the others go on computing so.
    mutating func agreeOnKernels() {
        let offers = members.compactMap(\.kernels)
        kernels = offers.isEmpty ? nil : KernelOffer.agreed(offers)
    }

    /// Invariant 1: a step for every phase that the slowest rank has entered.
    mutating func advance(_ now: Duration) -> [Action] {
        guard takeOver == nil else { return [] }
        let slowest = members.lazy.filter { $0.loss == nil }.map(\.phase).min() ?? .join
        guard slowest > phase else { return [] }
        let passed = Phase.allCases.filter { $0 > phase && $0 <= slowest }
        if phase == .join { agreeOnKernels() }
        phase = slowest
        phaseBegan = now
        let actions = passed.map(Action.reached)
        guard configuration.survivesLosses, phase == .ready else { return actions }
        // From now on each rank knows what it keeps, should this coordinator be lost.
        return actions
            + living.compactMap { rank in
                connection(of: rank).map {
                    .begin($0, epoch(members[rank.rawValue].told, of: living(with: rank)))
                }
            }
    }
}
