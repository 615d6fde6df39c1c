/// What the tensors of a family's checkpoints are called: the one table that loading, training,
/// converting and exporting read.
///
/// A `#` stands for the number of the block or of the expert. Names inside a block follow its
/// prefix, names inside a feed-forward network the prefix of that.
struct TensorNames: Sendable {
    /// `[vocabulary, hidden]`.
    let embedding: String
    /// Before the head, `[hidden]`.
    let finalNorm: String
    /// `[vocabulary, hidden]`.
    let head: String
    /// Before every name of a block.
    let block: String
    /// Before attention, `[hidden]`.
    let inputNorm: String
    /// Before the feed-forward network, `[hidden]`.
    let feedForwardNorm: String
    /// `[experts, hidden]`.
    let gate: String
    /// Added to the gate's scores for the choice alone, `[experts]`.
    let gateBias: String
    /// Before the names of a dense block's network.
    let dense: String
    /// Before the names of the fused shared experts.
    let sharedExperts: String
    /// Before the names of a routed expert.
    let routedExpert: String
    /// Inside every feed-forward network.
    let network: NetworkNames
    /// Inside a multi-token-prediction block, beside the names of a block.
    let mtp: MTPNames
    /// Where a block has the routed experts in tensors of all of them; nil for tensors of each.
    var fused: FusedExpertNames?

    /// The part of every name of a routed expert that says so.
    private var routedMark: String { "." + routedExpert.prefix { $0 != "#" } }

    /// Whether a tensor of this name belongs to a routed expert.
    func isRoutedExpert(_ name: String) -> Bool { name.contains(routedMark) }

    /// Whether a tensor of this name is a projection: a matrix that FP8 checkpoints store in FP8.
    func isProjection(_ name: String, attention: AttentionKind) -> Bool {
        ([network.gate, network.up, network.down] + attention.projectionNames).contains {
            name.hasSuffix("." + $0.split(separator: ".").suffix(2).joined(separator: "."))
        }
    }

    /// The same names behind a prefix.
    func prefixed(_ prefix: String) -> TensorNames {
        TensorNames(
            embedding: prefix + embedding, finalNorm: prefix + finalNorm, head: prefix + head,
            block: prefix + block, inputNorm: inputNorm, feedForwardNorm: feedForwardNorm,
            gate: gate, gateBias: gateBias, dense: dense, sharedExperts: sharedExperts,
            routedExpert: routedExpert, network: network, mtp: mtp, fused: fused)
    }

    /// Puts a number in its place.
    static func numbered(_ name: String, _ number: Int) -> String {
        name.replacing("#", with: "\(number)")
    }
}

/// What the three matrices of a SwiGLU network are called.
struct NetworkNames: Sendable {
    /// `[intermediate, hidden]`.
    let gate: String
    /// `[intermediate, hidden]`.
    let up: String
    /// `[hidden, intermediate]`.
    let down: String
}

/// What a multi-token-prediction block has beside a block's tensors.
struct MTPNames: Sendable {
    /// A copy of the main model's embedding.
    let embedding: String
    /// On the embedding, `[hidden]`.
    let embeddingNorm: String
    /// On the hidden state, `[hidden]`.
    let hiddenNorm: String
    /// `[hidden, 2 * hidden]`: embedding first.
    let projection: String
    /// Before the head, `[hidden]`.
    let headNorm: String
    /// A copy of the main model's head.
    let head: String
}
