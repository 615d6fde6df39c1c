internal import CKernels

/// How a token chooses its experts.
///
/// Source: DeepSeek-V3 report, §2.1.2; DeepSeek-V2 for the softmax form, gpt-oss for the last.
public struct GateRule: Sendable {
    public enum Score: String, Sendable {
        case sigmoid, softmax
        /// Logits and bias choose, and the softmax of the chosen ones weighs.
        case softmaxOfChosen
    }
    /// What a group of experts counts by.
    public enum GroupScore: String, Sendable {
        /// V2: its best expert.
        case best
        /// V3: the sum of its best two.
        case bestTwo
    }

    public var score: Score
    public var expertCount: Int
    public var topK: Int
    public var groupCount: Int
    public var topGroups: Int
    public var groupScore: GroupScore
    /// Divides the chosen weights by their sum.
    public var normalises: Bool
    /// `routed_scaling_factor`.
    public var scaling: Float

    public init(
        score: Score = .sigmoid, expertCount: Int, topK: Int, groupCount: Int = 1,
        topGroups: Int = 1, groupScore: GroupScore = .bestTwo, normalises: Bool = true,
        scaling: Float = 1
    ) {
        precondition(
            groupCount >= 1 && expertCount >= 1 && expertCount % groupCount == 0
                && (1 ... groupCount).contains(topGroups)
                && (1 ... expertCount / groupCount * topGroups).contains(topK),
            "top \(topK) of \(expertCount) experts in \(topGroups) of \(groupCount) groups")
        self.score = score
        self.expertCount = expertCount
        self.topK = topK
        self.groupCount = groupCount
        self.topGroups = topGroups
        self.groupScore = groupScore
        self.normalises = normalises
        self.scaling = scaling
    }

    var code: ck_gate_rule {
        ck_gate_rule(
            experts: Int32(expertCount), top_k: Int32(topK), groups: Int32(groupCount),
            top_groups: Int32(topGroups), softmax: score == .softmax ? 1 : 0,
            weighs_chosen: score == .softmaxOfChosen ? 1 : 0,
            group_max: groupScore == .best ? 1 : 0, normalise: normalises ? 1 : 0,
            scaling: scaling)
    }
}

/// Chooses experts by biased score and weighs them by unbiased score; dropped groups never win.
///
/// - Parameters:
///   - logits: `[tokens, experts]`. Holds the scores afterwards, which training needs.
///   - bias: `[experts]`, added for the choice alone, but for `softmaxOfChosen`.
///   - experts: `tokens * topK` ids, best first, equal scores by lower id.
///   - weights: `[tokens, topK]`.
public func gate(
    _ logits: Tensor, rule: GateRule, bias: Tensor?, experts: inout [Int32], into weights: Tensor,
    pool: ThreadPool
) {
    precondition(
        logits.columns == rule.expertCount && weights.columns == rule.topK
            && weights.rows >= logits.rows && experts.count >= logits.rows * rule.topK
            && (bias?.count ?? rule.expertCount) == rule.expertCount,
        "gate over \(logits.rows)x\(logits.columns) logits into \(weights.rows)x\(weights.columns)")
    var code = rule.code
    let scratchFloats = 2 * rule.expertCount + rule.groupCount
    unsafe experts.withUnsafeMutableBufferPointer { experts in
        unsafe withUnsafePointer(to: &code) { code in
            nonisolated(unsafe) let chosen = experts.baseAddress
            pool.split(logits.rows) { rows in
                unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: scratchFloats) {
                    scratch in
                    for row in rows {
                        let scores = unsafe logits.base + row * rule.expertCount
                        unsafe ck_gate(
                            code, scores, bias?.base, chosen! + row * rule.topK,
                            weights.base + row * rule.topK, scratch.baseAddress)
                        unsafe scores.update(
                            from: scratch.baseAddress!, count: rule.expertCount)
                    }
                }
            }
        }
    }
}
