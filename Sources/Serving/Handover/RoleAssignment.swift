import Topology

/// Which group of ranks has which role: what the job file says at first, then what the load asks
/// for.
///
/// A value: loads and the time go in, changes come out. A group is the unit, because its ranks make
/// the same steps: a prompt at one of them is in the step of all.
///
/// ```
///   a role lacks ranks for `hold`, the last change began an `interval` ago
///   settled ─────────────────────────────────────────► leaving: no new work of its role
///      ▲                                                 │            │
///      │            the work of its role is done         │            │ it takes too long, others
///      ├──── the group has the other role ◄──────────────┘            │ are full, or are lost
///      └──── the group keeps its role ◄───────────────────────────────┘
/// ```
///
/// 1. A group never leaves a role that no other group with a living rank has.
/// 2. One group changes at a time; changes begin at least an interval apart.
/// 3. A group has no work of its former role when it gets the other.
struct RoleAssignment: Sendable {
    /// What a group has to do.
    struct Load: Hashable, Sendable {
        /// Ranks that take part.
        var livingRanks: Int
        /// Prompts that it computes for others, or is about to.
        var prompts = 0
        /// Tokens of them that it has not sent.
        var promptTokens = 0
        /// Texts under way at its ranks.
        var texts = 0
        /// Texts that its living ranks take at once.
        var slots = 0
    }

    private let rule: RoleRule
    /// The roles of the job file.
    private let written: [RankRole]
    /// The role of each group.
    private(set) var roles: [RankRole]
    /// The group that is about to leave its role.
    private(set) var leaving: RoleChange?
    /// Changes that were made.
    private(set) var changeCount: UInt64 = 0
    /// The role that lacks a group, and since when.
    private var lack: (role: RankRole, since: Duration)?
    private var lastBegun: Duration?

    init(_ roles: [RankRole], _ rule: RoleRule) {
        written = roles
        self.roles = roles
        self.rule = rule
    }

    /// Takes in what each group has to do now.
    ///
    /// - Returns: What begins, is done or is dropped by it.
    mutating func apply(_ loads: [Load], now: Duration) -> RoleChange? {
        precondition(loads.count == roles.count, "\(loads.count) loads of \(roles.count) groups")
        if let change = leaving { return goOn(change, loads, now) }
        guard let change = wanted(loads) else {
            lack = nil
            return nil
        }
        if lack?.role != change.role { lack = (change.role, now) }
        let since = lack?.since ?? now
        guard now - since >= rule.hold, lastBegun.map({ now - $0 >= rule.interval }) ?? true
        else { return nil }
        leaving = change
        lastBegun = now
        lack = nil
        return change
    }

    /// How far a group is that leaves its role.
    private mutating func goOn(
        _ change: RoleChange, _ loads: [Load], _ now: Duration
    ) -> RoleChange? {
        let (group, old) = (change.group, roles[change.group])
        var change = change
        if let reason = obstacle(to: change, loads) {
            change.outcome = .dropped(reason)
        } else if loads[group].isDone(with: old) {
            change.outcome = .done
            roles[group] = change.role
            changeCount += 1
        } else if now - (lastBegun ?? now) >= rule.endingLimit {
            let limit = rule.endingLimit.components.seconds
            change.outcome = .dropped("its work was not done within \(limit) s")
        } else {
            return nil
        }
        leaving = nil
        return change
    }

    /// Why a group keeps its role after all.
    private func obstacle(to change: RoleChange, _ loads: [Load]) -> String? {
        let (group, role) = (change.group, roles[change.group])
        guard loads[group].livingRanks > 0 else { return "its ranks are lost" }
        guard mayLeave(group, loads) else { return "no other group has role \(role.rawValue)" }
        if case .noRank(let lacking) = change.cause {
            return sum(lacking, loads).livingRanks == 0
                ? nil : "a rank of role \(lacking.rawValue) is back"
        }
        let others = sum(role, loads, without: group)
        guard role == .decode ? isFull(others, rule.fullSlots) : isBehind(others, 1) else {
            return nil
        }
        return "the other groups of role \(role.rawValue) have too much to do"
    }

    // MARK: The rule

    /// The change that these loads ask for.
    private func wanted(_ loads: [Load]) -> RoleChange? {
        let (prompts, texts) = (sum(.prefill, loads), sum(.decode, loads))
        if prompts.livingRanks == 0 { return change(to: .prefill, loads, .noRank(.prefill)) }
        if texts.livingRanks == 0 { return change(to: .decode, loads, .noRank(.decode)) }
        let (promptsWait, textsFill) = (isBehind(prompts, 1), isFull(texts, rule.fullSlots))
        if promptsWait, !textsFill {
            return change(
                to: .prefill, loads,
                .prompts(tokens: prompts.promptTokens, ranks: prompts.livingRanks)
            ) { !isFull($0, rule.roomySlots) }
        }
        if textsFill, !promptsWait {
            return change(to: .decode, loads, .texts(texts.texts, slots: texts.slots)) {
                !isBehind($0, 0.5)
            }
        }
        return home(loads)
    }

    /// A group that may go back to the role that the job file gives it.
    private func home(_ loads: [Load]) -> RoleChange? {
        roles.indices.first { group in
            guard roles[group] != written[group], mayLeave(group, loads) else { return false }
            let left = rest(group, loads)
            return roles[group] == .prefill
                ? !isBehind(left, 0.25) : !isFull(left, rule.calmSlots)
        }.map { RoleChange(group: $0, role: written[$0], cause: .calm) }
    }

    /// The group with the least to do that may get a role.
    ///
    /// - Parameter fits: Whether the groups that keep the other role have room enough.
    private func change(
        to role: RankRole, _ loads: [Load], _ cause: RoleChange.Cause,
        fits: (Load) -> Bool = { _ in true }
    ) -> RoleChange? {
        roles.indices
            .filter { group in
                roles[group] != role && mayLeave(group, loads)
                    && fits(rest(group, loads))
            }
            .min { loads[$0].work(of: roles[$0]) < loads[$1].work(of: roles[$1]) }
            .map { RoleChange(group: $0, role: role, cause: cause) }
    }

    /// Whether a group lives, and another one of its role does.
    private func mayLeave(_ group: Int, _ loads: [Load]) -> Bool {
        loads[group].livingRanks > 0 && sum(roles[group], loads, without: group).livingRanks > 0
    }

    /// What a role has to do without a group: the group's ranks go, and work like theirs still
    /// comes.
    private func rest(_ group: Int, _ loads: [Load]) -> Load {
        var rest = sum(roles[group], loads)
        rest.livingRanks -= loads[group].livingRanks
        rest.slots -= loads[group].slots
        return rest
    }

    /// What the groups of a role have to do together.
    private func sum(_ role: RankRole, _ loads: [Load], without other: Int? = nil) -> Load {
        roles.indices.reduce(into: Load(livingRanks: 0)) { sum, group in
            guard roles[group] == role, group != other else { return }
            sum.livingRanks += loads[group].livingRanks
            sum.prompts += loads[group].prompts
            sum.promptTokens += loads[group].promptTokens
            sum.texts += loads[group].texts
            sum.slots += loads[group].slots
        }
    }

    /// Whether prompts wait beyond a share of the limit.
    private func isBehind(_ load: Load, _ share: Double) -> Bool {
        Double(load.promptTokens) >= share * Double(rule.promptTokens * load.livingRanks)
            && load.promptTokens > 0
    }

    /// Whether texts take a share of the slots.
    private func isFull(_ load: Load, _ share: Double) -> Bool {
        Double(load.texts) >= share * Double(load.slots)
    }
}

extension RoleAssignment.Load {
    /// Whether nothing of a role's work is left.
    fileprivate func isDone(with role: RankRole) -> Bool {
        role == .prefill ? prompts == 0 : texts == 0
    }

    /// How much of a role's work there is.
    fileprivate func work(of role: RankRole) -> Int { role == .prefill ? promptTokens : texts }
}
