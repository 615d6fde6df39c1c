public import Tensors

/// What the ranks of an expert-parallel group agree on before the first dispatch.
public struct ExpertParallelConfiguration: Hashable, Codable, Sendable {
    /// Which of DeepEP's two kinds of all-to-all.
    public enum Mode: String, Codable, Sendable, CaseIterable {
        /// Thousands of tokens: a token crosses to another node once.
        case normal
        /// A few hundred tokens: every rank writes straight to every other, no relay on the way.
        case lowLatency = "low-latency"
    }

    /// Which all-to-all.
    public var mode: Mode
    /// Values per token (`hidden_size`).
    public var hiddenSize: Int
    /// Choices per token (`num_experts_per_tok`).
    public var topK: Int
    /// Most tokens that one rank sends in one dispatch; the windows are made for it.
    public var maximumTokensPerRank: Int
    /// How tokens travel to the experts.
    public var dispatchCodec: RowCodec = .bfloat16
    /// How outputs return.
    public var combineCodec: RowCodec = .bfloat16
    /// Whether a rank adds up the outputs of its own experts, and a node those of its ranks, before
    /// they return. Fewer bytes, but the sum is rounded on the way and its order depends on
    /// the placement. Off, one row per token and expert goes home and is added there in top-k
    /// order: the same bits for any number of ranks.
    public var addsBeforeReturn: Bool
    /// Whether each output row brings one number home beside it, as the gradient of its gate
    /// weight. Only without `addsBeforeReturn`.
    public var carriesScalars: Bool = false
    /// How long a dispatch or a combine may wait for other ranks.
    public var limit: Duration = .seconds(30)

    /// A configuration with the stated defaults; normal mode adds before return.
    public init(
        mode: Mode, hiddenSize: Int, topK: Int, maximumTokensPerRank: Int,
        dispatchCodec: RowCodec = .bfloat16, combineCodec: RowCodec = .bfloat16,
        addsBeforeReturn: Bool? = nil
    ) {
        self.mode = mode
        self.hiddenSize = hiddenSize
        self.topK = topK
        self.maximumTokensPerRank = maximumTokensPerRank
        self.dispatchCodec = dispatchCodec
        self.combineCodec = combineCodec
        self.addsBeforeReturn = addsBeforeReturn ?? (mode == .normal)
    }

    /// Two results may be alive at a time: while one batch is computed the other travels.
    package static let bufferCount = 2
    /// Far above any model's; keeps every offset within 48 bits.
    static let maximumHiddenSize = 1 << 17
    /// Times the largest top-k, a count of rows still fits the 24 bits that a signal has for it.
    static let tokenCeiling = (1 << 18) - 1

    /// Checks each field against its limit.
    public func validate() throws(CollectivesError) {
        try Self.check("hidden size", hiddenSize, 1 ... Self.maximumHiddenSize, "ExpertParallel")
        try Self.check("top-k", topK, 1 ... Routing.maximumTopK, "Routing.maximumTopK")
        try Self.check(
            "maximum tokens per rank", maximumTokensPerRank, 1 ... Self.tokenCeiling,
            "ExpertParallelConfiguration.tokenCeiling")
        if mode == .lowLatency {
            try Self.check("adds before return", addsBeforeReturn ? 1 : 0, 0 ... 0, "low latency")
        }
        if addsBeforeReturn {
            try Self.check("carries scalars", carriesScalars ? 1 : 0, 0 ... 0, "addsBeforeReturn")
        }
        if case .float8e4m3 = combineCodec {
            throw .limit(
                "bits per combined value", value: 8, range: 16 ... 32, origin: "combineCodec")
        }
    }

    private static func check(
        _ subject: String, _ value: Int, _ range: ClosedRange<Int>, _ origin: String
    ) throws(CollectivesError) {
        guard range.contains(value) else {
            throw .limit(subject, value: value, range: range, origin: origin)
        }
    }

    /// The fields as other ranks compare them, each with its name.
    var agreement: [(subject: String, value: String)] {
        [
            ("protocol version", "\(Self.protocolVersion)"),
            ("mode", mode.rawValue),
            ("hidden size", "\(hiddenSize)"),
            ("top-k", "\(topK)"),
            ("maximum tokens per rank", "\(maximumTokensPerRank)"),
            ("dispatch codec", "\(dispatchCodec)"),
            ("combine codec", "\(combineCodec)"),
            ("adds before return", "\(addsBeforeReturn)"),
            ("carries scalars", "\(carriesScalars)"),
        ]
    }

    /// Counts changes of what ranks write into each other's windows.
    static let protocolVersion = 1
}
