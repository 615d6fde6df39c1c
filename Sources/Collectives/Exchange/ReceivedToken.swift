public import Topology

/// One token that a rank received.
public struct ReceivedToken: Hashable, Sendable {
    /// The rank that sent it.
    public var source: Rank
    /// Its index there.
    public var index: Int
    /// Per meeting: local expert index, which choice of the token it is, and its gate weight.
    public var pairs: [Pair]

    /// A token's meeting with one expert.
    public struct Pair: Hashable, Sendable {
        public var localExpert: Int
        public var choice: Int
        public var weight: Float

        /// A choice of the token for an expert of this rank.
        public init(localExpert: Int, choice: Int, weight: Float) {
            self.localExpert = localExpert
            self.choice = choice
            self.weight = weight
        }
    }
}
