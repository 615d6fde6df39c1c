public import Topology

/// A group of ranks that gets another role, or is about to.
public struct RoleChange: Hashable, Sendable, CustomStringConvertible {
    /// Why it does.
    enum Cause: Hashable, Sendable {
        /// Prompts wait at the ranks that prefill.
        case prompts(tokens: Int, ranks: Int)
        /// Texts fill the ranks that decode.
        case texts(Int, slots: Int)
        /// No rank of a role is left.
        case noRank(RankRole)
        /// The load needs no other roles than those of the job file.
        case calm

        fileprivate var words: String {
            switch self {
            case .prompts(let tokens, let ranks):
                "\(tokens) tokens of prompts wait for \(ranks) ranks that prefill"
            case .texts(let count, let slots):
                "\(count) texts are at ranks that decode, which have \(slots) slots"
            case .noRank(let role): "no rank is left that has role \(role.rawValue)"
            case .calm: "the load does not need other roles than the job file's"
            }
        }
    }

    /// What became of it.
    enum Outcome: Hashable, Sendable {
        /// The group gets no new work of its role.
        case begun
        /// It has the new role.
        case done
        /// It keeps its role.
        case dropped(String)
    }

    /// The group's place in the job file.
    var group: Int
    /// The role that it is to have.
    var role: RankRole
    var cause: Cause
    var outcome = Outcome.begun
    /// The group as the job calls it.
    var name = ""
    /// Its ranks.
    public var ranks: [Rank] = []
    /// The role that its ranks have from now on; nil where that did not change.
    public var newRole: RankRole? { outcome == .done ? role : nil }

    init(group: Int, role: RankRole, cause: Cause) {
        self.group = group
        self.role = role
        self.cause = cause
    }

    /// The fact in one line.
    public var description: String {
        switch outcome {
        case .begun:
            "group \(name) is to have role \(role.rawValue) once its work is done: \(cause.words)"
        case .done: "group \(name) has role \(role.rawValue) from now on"
        case .dropped(let reason):
            "group \(name) does not get role \(role.rawValue): \(reason)"
        }
    }
}
