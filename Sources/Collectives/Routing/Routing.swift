internal import Topology

/// Which experts each token goes to, and how much each counts.
///
/// The gate makes one per layer and step. `-1` stands for no expert: such a choice sends nothing
/// and adds nothing.
public struct Routing: Hashable, Sendable {
    /// How many tokens; 0 is allowed.
    public let tokenCount: Int
    /// Choices per token (`num_experts_per_tok`).
    public let topK: Int
    /// Logical experts, `[tokens, topK]`, best first as the gate gave them; -1 for none.
    public var expertIDs: [Int32]
    /// Gate weights, `[tokens, topK]`.
    public var weights: [Float]

    /// Most choices a token may have; a choice's number travels in one byte.
    package static let maximumTopK = 64

    /// Pairs choices with their weights; all weights are 1 if none are given.
    ///
    /// - Throws: `CollectivesError.shape` if a list is not `tokenCount * topK` long.
    public init(
        tokenCount: Int, topK: Int, expertIDs: [Int32], weights: [Float]? = nil
    ) throws(CollectivesError) {
        let choices = tokenCount * topK
        guard expertIDs.count == choices else {
            throw .shape("expert ids", found: [expertIDs.count], expected: [tokenCount, topK])
        }
        let weights = weights ?? [Float](repeating: 1, count: choices)
        guard weights.count == choices else {
            throw .shape("gate weights", found: [weights.count], expected: [tokenCount, topK])
        }
        self.tokenCount = tokenCount
        self.topK = topK
        self.expertIDs = expertIDs
        self.weights = weights
    }

    /// The routing of a rank that has no tokens and takes part nevertheless.
    public static func empty(topK: Int) -> Routing {
        Routing(unchecked: 0, topK: topK, expertIDs: [], weights: [])
    }

    init(unchecked tokenCount: Int, topK: Int, expertIDs: [Int32], weights: [Float]) {
        self.tokenCount = tokenCount
        self.topK = topK
        self.expertIDs = expertIDs
        self.weights = weights
    }

    /// Checks every choice: in range, distinct within its token, with a finite weight.
    public func validate(expertCount: Int) throws(CollectivesError) {
        guard (1 ... Self.maximumTopK).contains(topK) else {
            throw .limit(
                "top-k", value: topK, range: 1 ... Self.maximumTopK, origin: "Routing.maximumTopK")
        }
        for token in 0 ..< tokenCount {
            let base = token * topK
            for choice in base ..< base + topK {
                let expert = expertIDs[choice]
                if expert == -1 { continue }
                guard expert >= 0, expert < expertCount else {
                    throw .expertOutOfRange(Int(expert), token: token, expertCount: expertCount)
                }
                guard weights[choice].isFinite else {
                    throw .weightNotFinite(token: token, choice: choice - base)
                }
                for earlier in base ..< choice where expertIDs[earlier] == expert {
                    throw .repeatedExpert(ExpertID(rawValue: Int(expert)), token: token)
                }
            }
        }
    }
}
