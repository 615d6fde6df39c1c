import Topology

/// What a rank wants of a step, and what it has to compute in it.
///
/// Every rank sends its request to all others; from the same requests all draw the same agreement.
struct StepRequest: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    /// Two micro-batches, so that one computes while the other's tokens travel.
    static let overlap = StepRequest(rawValue: 1)
    /// A pass of the MTP block.
    static let draft = StepRequest(rawValue: 2)
    /// The rank has tokens.
    static let tokens = StepRequest(rawValue: 4)
    /// They are so few that the ranks of its node would compute them together.
    static let fewTokens = StepRequest(rawValue: 8)

    /// What a plan says of the rank's tokens.
    ///
    /// - Parameter limit: Tokens up to which the ranks of the node compute them together.
    static func rows(of plan: StepPlan, limit: Int) -> StepRequest {
        guard plan.tokenCount > 0 else { return [] }
        return plan.tokenCount <= limit ? [.tokens, .fewTokens] : .tokens
    }
}

/// How all ranks perform a step.
struct StepAgreement: Hashable, Sendable {
    /// What the ranks together want, less what the tokens of the step forbid.
    let request: StepRequest
    /// The rank whose tokens all ranks of this rank's node compute together; nil where each
    /// computes its own.
    let leader: Rank?
    /// Whether this rank alone on its node has tokens.
    let isAlone: Bool

    /// Draws the agreement that all ranks draw.
    ///
    /// A rank leads if it alone on its node has tokens, and few. Where every node with tokens has
    /// such a rank there are no micro-batches: one half of a few tokens hides little. Elsewhere a
    /// step with micro-batches has no leader.
    ///
    /// - Parameters:
    ///   - requests: What each living rank sent, this one included.
    ///   - rank: This rank.
    ///   - node: The node of a rank.
    init(_ requests: [Rank: StepRequest], of rank: Rank, node: (Rank) -> Int) {
        var all: StepRequest = []
        var busy: [Int: [Rank]] = [:]
        for (rank, request) in requests.sorted(by: { $0.key < $1.key }) {
            all.formUnion(request)
            if request.contains(.tokens) { busy[node(rank), default: []].append(rank) }
        }
        func leader(of ranks: [Rank]) -> Rank? {
            guard ranks.count == 1, let only = ranks.first else { return nil }
            return requests[only]?.contains(.fewTokens) == true ? only : nil
        }
        if !busy.isEmpty, busy.values.allSatisfy({ leader(of: $0) != nil }) {
            all.remove(.overlap)
        }
        isAlone = busy[node(rank)] == [rank]
        request = all.subtracting([.tokens, .fewTokens])
        self.leader = all.contains(.overlap) ? nil : busy[node(rank)].flatMap(leader)
    }
}
