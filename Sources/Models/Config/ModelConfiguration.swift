import Foundation
import Tensors

/// The shape of a network, as `config.json` gives it.
///
/// The keys are its family's (`Architectures`). `load` checks every value once; the rest of the
/// room relies on what `validate` promises.
public struct ModelConfiguration: Codable, Sendable, Equatable {
    /// How the gate turns logits into scores.
    public enum Scoring: String, Codable, Sendable {
        /// DeepSeek-V3 and later.
        case sigmoid
        /// DeepSeek-V2.
        case softmax
    }

    /// How the gate chooses experts.
    public enum TopKMethod: String, Codable, Sendable {
        /// Biased scores; a group's score is the sum of its best two (V3).
        case biased = "noaux_tc"
        /// A group's score is its best expert's (V2).
        case groupLimited = "group_limited_greedy"
        /// No groups (V2-Lite).
        case greedy
    }

    /// Which values of queries and of keys have one norm.
    enum QueryKeyNorm: Sendable {
        /// Those of each head.
        case head
        /// Those of all heads.
        case allHeads
    }

    /// The published class names (default DeepSeek-V3's).
    public var architectures = ["DeepseekV3ForCausalLM"]
    /// The published family name (default `deepseek_v3`).
    package var modelType = "deepseek_v3"
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Width of a dense layer's feed-forward network.
    package var intermediateSize: Int
    /// Width of one routed expert.
    package var expertIntermediateSize: Int
    /// Transformer blocks of the main model.
    public var layerCount: Int
    /// How many first blocks are dense (default 0).
    package var denseLayerCount = 0
    /// Every n-th block after those has experts (default 1).
    package var expertLayerStride = 1
    /// Which blocks have experts, one by one; nil where the two counts above say it.
    var expertLayers: [Bool]?
    /// The numbers that the blocks have in the network that they are kept from; nil for their own.
    var originalLayers: [Int]?
    /// Attention heads.
    public var headCount: Int
    /// Heads that keep keys and values, of grouped queries; nil for latent attention.
    var keyValueHeadCount: Int?
    /// What is normed of grouped queries and their keys before rotation; nil for nothing.
    var queryKeyNorm: QueryKeyNorm?
    /// Whether the projections of grouped queries have biases (default false).
    var hasAttentionBias = false
    /// Blocks in which a token sees the last entries alone; nil for none.
    var window: AttentionWindow?
    /// What routed experts have in place of silu(gate) * up; nil for that.
    var expertActivation: ClampedSwiGLU?
    /// Whether the head is the embedding (default false).
    var tiesEmbeddings = false
    /// Width of the compressed query, nil where queries are not compressed.
    package var queryLatentSize: Int?
    /// Width of the compressed keys and values, `c_KV`.
    package var latentSize: Int
    /// Width of the rotated part of a query or key, shared by all heads.
    package var ropeHeadSize: Int
    /// Width of the unrotated part of a head's query or key.
    package var nopeHeadSize: Int
    /// Width of a head's value.
    package var valueHeadSize: Int
    /// Routed experts per layer.
    public var routedExpertCount: Int
    /// Experts that every token uses, fused into one network of their summed width (default 0).
    public var sharedExpertCount = 0
    /// Routed experts per token, top-k.
    public var activeExpertCount: Int
    /// Groups of routed experts (default 1).
    public var groupCount = 1
    /// Groups a token may choose from (default 1).
    public var keptGroupCount = 1
    /// Default sigmoid.
    package var scoring = Scoring.sigmoid
    /// Default `noaux_tc`.
    package var topKMethod = TopKMethod.biased
    /// Whether the chosen weights are divided by their sum (default true).
    package var normalizesWeights = true
    /// Factor on the chosen weights (default 1).
    package var routedScalingFactor: Float = 1
    /// Rows of the embedding and of the head.
    public var vocabularySize: Int
    /// Positions the model was made for (default 4096), those of YaRN's stretch included.
    public var positionLimit = 4096
    /// Epsilon of the block norms (default 1e-6).
    package var normEpsilon: Float = 1e-6
    /// Base of the rotary frequencies (default 10000).
    package var ropeTheta: Double = 10000
    /// Whether neighbouring values turn together, and not those of two halves (default true).
    var rotatesNeighbours = true
    /// Tokens that sparse attention chooses for each token, nil for dense attention.
    ///
    /// Among so many it chooses all. A family without an indexer has texts of no more.
    package var sparseIndexCount: Int?
    /// What chooses them, nil for a family without an indexer.
    var indexer: IndexerShape?
    /// Extension of the rotary frequencies, nil without one.
    package var yarn: YaRN?
    /// Multi-token-prediction blocks after the main ones (default 0).
    public var mtpLayerCount = 0
    /// FP8 storage of the weights, nil where they are float.
    public var quantization: Quantization?
    /// Begins a text (default nil).
    package var beginToken: Int?
    /// Ends a text; any of these (default none).
    public var endTokens: [Int] = []
    /// The published name of the float type of the weights (default `bfloat16`).
    public var storedType = "bfloat16"
}

/// YaRN's stretch of the rotary frequencies over more positions (arXiv 2309.00071).
public struct YaRN: Codable, Sendable, Equatable {
    /// How many times more positions.
    public var factor: Double
    /// Positions before the stretch.
    package var originalPositionLimit: Int
    /// Rotations beyond which a frequency is kept (default 32).
    package var betaFast: Double = 32
    /// Rotations below which a frequency is divided by the factor (default 1).
    package var betaSlow: Double = 1
    /// Scale of the rotation's magnitude (default 1; 1 too for grouped queries without both).
    package var mscale: Double = 1
    /// Scale of the attention logits, 0 for none (default 0; 0 too for grouped queries without
    /// both). For grouped queries it divides the rotation's magnitude alone.
    package var mscaleAllDimensions: Double = 0
    /// The rotation's magnitude itself, nil where the scales above give it.
    var attentionFactor: Double?
    /// Whether the ramp between the two kinds of frequency begins and ends at whole dimensions
    /// (default true).
    var truncates = true

    enum CodingKeys: String, CodingKey, CaseIterable {
        case kind = "type"
        case newerKind = "rope_type"
        case ropeTheta = "rope_theta"
        case factor
        case originalPositionLimit = "original_max_position_embeddings"
        case betaFast = "beta_fast"
        case betaSlow = "beta_slow"
        case mscale
        case mscaleAllDimensions = "mscale_all_dim"
        case attentionFactor = "attention_factor"
        case truncates = "truncate"

        /// Those that describe the stretch itself.
        static let ofStretch: [CodingKeys] = [
            .factor, .originalPositionLimit, .betaFast, .betaSlow, .mscale, .mscaleAllDimensions,
            .attentionFactor, .truncates,
        ]
    }

    /// Factor on cosines and sines.
    var rotationMagnitude: Double {
        attentionFactor ?? magnitude(mscale) / magnitude(mscaleAllDimensions)
    }

    /// `0.1 m ln(factor) + 1`: the magnitude that YaRN's section 3.4 prescribes.
    func magnitude(_ mscale: Double) -> Double {
        factor <= 1 ? 1 : 0.1 * mscale * Foundation.log(factor) + 1
    }
}
