import Topology

/// Groups whose role follows the load.
///
/// A rank is a whole engine whatever its role, so only the router and the links change: who gets
/// texts, who gets prompts, and which end of a link sends.
extension HandoverRouting {
    /// The role of a rank now; nil in a job without roles.
    func role(of rank: Int) -> RankRole? {
        guard groupOfRank.indices.contains(rank) else { return nil }
        let group = groupOfRank[rank]
        return assignment?.roles[group] ?? groups[group].role
    }

    /// Whether a rank is about to leave its role, and gets no new work of it.
    func isLeaving(_ rank: Int) -> Bool {
        guard let leaving = assignment?.leaving else { return false }
        return groupOfRank[rank] == leaving.group
    }

    /// Notes which ranks have which role.
    mutating func takeRoles() {
        prefill = groupOfRank.indices.filter { role(of: $0) == .prefill }
        decode = groupOfRank.indices.filter { role(of: $0) == .decode }
    }

    /// Lets the roles follow the load.
    ///
    /// - Parameters:
    ///   - texts: Under way at each rank.
    ///   - slots: Texts that each rank takes at once.
    ///   - now: On any clock that goes on.
    /// - Returns: What begins, is done or is dropped, and what to tell the ranks.
    mutating func follow(
        texts: [Int], slots: [Int], now: Duration
    ) -> (change: RoleChange, actions: [Action])? {
        // Who is not there yet may be about to come.
        guard assignment != nil, known.count == groupOfRank.count else { return nil }
        let loads = loads(texts: texts, slots: slots)
        guard var change = assignment?.apply(loads, now: now) else { return nil }
        change.name = groups[change.group].name
        let ranks = groupOfRank.indices.filter { groupOfRank[$0] == change.group }
        change.ranks = ranks.map { Rank(rawValue: $0) }
        guard change.newRole != nil else { return (change, []) }
        let actions = letGo(of: ranks)
        takeRoles()
        return (change, actions + ranks.filter(here.contains).flatMap { linkAll(of: $0) })
    }

    /// What each group has to do.
    private func loads(texts: [Int], slots: [Int]) -> [RoleAssignment.Load] {
        var loads = groups.map { _ in RoleAssignment.Load(livingRanks: 0) }
        for (rank, group) in groupOfRank.enumerated() {
            loads[group].texts += texts[rank]
            guard here.contains(rank) else { continue }
            loads[group].livingRanks += 1
            loads[group].slots += slots[rank]
        }
        for order in orders.values {
            guard let rank = order.prefill else { continue }
            loads[groupOfRank[rank]].prompts += 1
            loads[groupOfRank[rank]].promptTokens += order.work
        }
        return loads
    }

    /// Ends the links of ranks that get another role. A request that came to one meanwhile is
    /// computed there, one that has no answer yet when it asks for its entries.
    private mutating func letGo(of ranks: [Int]) -> [Action] {
        var actions: [Action] = []
        for (pair, link) in links.sorted(by: { $0.value.number < $1.value.number })
        where ranks.contains(pair.prefill) || ranks.contains(pair.decode) {
            links[pair] = nil
            actions.append((pair.prefill, .handover(.unlink(link.number))))
            actions.append((pair.decode, .handover(.unlink(link.number))))
        }
        for rank in ranks { memories[rank] = nil }
        for (id, order) in orders.sorted(by: { $0.key < $1.key }) {
            guard let rank = order.prefill else { continue }
            if ranks.contains(order.decode) {
                orders[id] = nil
                actions.append((rank, .cancel(id)))
                actions.append((order.decode, .handover(.compute(id))))
            } else if ranks.contains(rank) {
                actions += again(id, leavesOld: true)
            }
        }
        return actions
    }
}
