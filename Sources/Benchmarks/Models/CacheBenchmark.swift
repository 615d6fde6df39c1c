public import Models
public import Tensors

/// What a cache with fewer bits does to the logits of a long text.
///
/// The text is shown once for each format, from its beginning, so a rounded entry changes what
/// later layers and later tokens cache, as it does when a model serves. The reference is the fp32
/// cache of the same model with the same products: only the cache differs.
public struct CacheBenchmark {
    /// The figures of one format.
    public struct Report: Codable, Sendable {
        /// The format, as options name it.
        public var format: String
        /// Bytes that a token takes in all layers.
        public var bytesPerToken: Int
        /// One for each depth, the smallest first.
        public var depths: [CacheFigures]
    }

    /// Rows that are compared at each depth.
    package static let comparedRows = 64
    /// Tokens of one forward.
    private static let pieceTokens = 256

    private let model: Model
    private let tokens: [Int]
    private let depths: [Int]

    /// Prepares a comparison.
    ///
    /// - Parameters:
    ///   - tokens: The text; what lies beyond the largest depth is not used.
    ///   - depths: Tokens of the text's beginnings whose last rows are compared.
    /// - Throws: `ModelError.request` for depths that text, model or comparison do not have.
    public init(_ model: Model, tokens: [Int], depths: [Int]) throws(ModelError) {
        guard !depths.isEmpty else {
            throw .request("no depth is named: at least one is compared")
        }
        let sorted = Set(depths).sorted()
        let limit = min(tokens.count, model.contextLimit)
        for (depth, before) in zip(sorted, [0] + sorted)
        where depth - before < Self.comparedRows || depth > limit {
            throw .request(
                "depth \(depth) is not \(before + Self.comparedRows) to \(limit): the text has"
                    + " \(tokens.count) tokens, the model a context of \(model.contextLimit)"
                    + " (max_position_embeddings), and \(Self.comparedRows) rows are compared at"
                    + " each depth")
        }
        self.model = model
        self.tokens = tokens
        self.depths = sorted
    }

    /// Compares formats with fp32.
    ///
    /// - Parameter begin: Told each format before its text is shown.
    public func run(
        _ formats: [EntryFormat] = [.bfloat16, .float8e4m3], begin: (String) -> Void = { _ in }
    ) throws -> [Report] {
        begin("fp32")
        let (reference, _) = try rows(.float32)
        return try formats.map { format in
            let name = format == .bfloat16 ? "bf16" : format == .float32 ? "fp32" : "fp8"
            begin(name)
            let (rows, bytes) = try rows(format)
            let figures = zip(depths, zip(rows, reference)).map { depth, rows in
                var figures = CacheFigures(depth: depth)
                for (row, expected) in zip(rows.0, rows.1) { figures.add(row, reference: expected) }
                return figures
            }
            return Report(format: name, bytesPerToken: bytes, depths: figures)
        }
    }

    /// The logits of the last rows before each depth.
    private func rows(_ format: EntryFormat) throws -> ([[[Float]]], bytesPerToken: Int) {
        let end = depths.last ?? 0
        let blocks = (end + BlockCache.defaultBlockTokens - 1) / BlockCache.defaultBlockTokens
        let cache = BlockCache(
            configuration: model.configuration, format: format, blockCount: blocks)
        let table = cache.blocks(tokens: end)
        var position = 0
        let rows = try depths.map { depth in
            let first = depth - Self.comparedRows
            while position < first {
                let next = min(position + Self.pieceTokens, first)
                _ = try show(position ..< next, table, cache, .none)
                position = next
            }
            let logits = try show(first ..< depth, table, cache, .all)
            position = depth
            return (0 ..< logits.rows).map { row in
                (0 ..< logits.columns).map { logits[row, $0] }
            }
        }
        return (rows, cache.bytesPerToken)
    }

    private func show(
        _ range: Range<Int>, _ blocks: [BlockID], _ cache: BlockCache, _ wanted: WantedLogits
    ) throws -> Tensor {
        try model.forward(
            [
                SequenceChunk(
                    tokens: Array(tokens[range]), position: range.lowerBound, blocks: blocks,
                    wanted: wanted)
            ], cache: cache
        ).logits
    }
}
