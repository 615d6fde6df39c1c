import Language
public import Tensors

/// How well a model predicts a text it is shown.
public struct TextEvaluation: Sendable {
    /// Tokens that were predicted: all but the first of each window.
    package private(set) var predictedCount = 0
    /// Positions where the MTP block's draft was compared.
    public private(set) var draftCount = 0
    private var lossSum = 0.0
    private var agreeing = 0

    /// Mean negative log-likelihood of the next token, in nats.
    public var loss: Double { lossSum / Double(max(predictedCount, 1)) }

    /// Fraction of positions where the MTP block's likeliest token after next is the main model's;
    /// nil without an MTP block.
    public var draftAgreement: Double? {
        draftCount == 0 ? nil : Double(agreeing) / Double(draftCount)
    }

    /// Starts with nothing seen.
    public init() {}

    /// Shows a text to the model, in windows of its context.
    ///
    /// - Parameters:
    ///   - chunk: Tokens per forward.
    ///   - logits: Receives each forward's `[rows, vocab]`, in order.
    public mutating func show(
        _ tokens: [Int], to model: Model, cache: BlockCache, chunk: Int = 256,
        logits observe: (Tensor) throws -> Void = { _ in }
    ) throws {
        guard tokens.count > 1 else {
            throw ModelError.request("\(tokens.count) tokens; a next one needs at least 2")
        }
        let window = min(model.contextLimit, cache.blockCount * cache.blockTokens)
        for start in stride(from: 0, to: tokens.count, by: window) {
            let end = min(start + window, tokens.count)
            try show(
                Array(tokens[start ..< end]), model, cache, cache.blocks(tokens: end - start),
                chunk: chunk, observe)
        }
    }

    /// Shows one window.
    private mutating func show(
        _ tokens: [Int], _ model: Model, _ cache: BlockCache, _ blocks: [BlockID], chunk: Int,
        _ observe: (Tensor) throws -> Void
    ) throws {
        // The MTP draft of row i is for token i + 2, which the main model predicts in row i + 1.
        var drafts: [Int] = []
        for first in stride(from: 0, to: tokens.count, by: chunk) {
            let range = first ..< min(first + chunk, tokens.count)
            let result = try model.forward(
                [
                    SequenceChunk(
                        tokens: Array(tokens[range]), position: first, blocks: blocks,
                        wanted: .all)
                ], cache: cache, keepsHidden: model.canDraft)
            try observe(result.logits)
            for row in range {
                let best = try Sampler.likeliest(result.logits.row(row - first))
                if row > 0, row - 1 < drafts.count {
                    draftCount += 1
                    agreeing += drafts[row - 1] == best ? 1 : 0
                }
                // A draft of this chunk may already be needed by its next row.
                if drafts.count == row, let hidden = result.hidden, row == first {
                    drafts += try draft(tokens, range, hidden, model, cache, blocks)
                }
            }
            logSoftmax(result.logits, pool: model.pool)
            for row in range where row + 1 < tokens.count {
                lossSum -= Double(result.logits[row - first, tokens[row + 1]])
                predictedCount += 1
            }
        }
    }

    /// The MTP block's likeliest tokens for the rows of a chunk whose next token is known.
    private func draft(
        _ tokens: [Int], _ range: Range<Int>, _ hidden: Tensor, _ model: Model,
        _ cache: BlockCache, _ blocks: [BlockID]
    ) throws -> [Int] {
        let end = min(range.upperBound, tokens.count - 1)
        guard end > range.lowerBound else { return [] }
        let following = Array(tokens[range.lowerBound + 1 ... end])
        let result = try model.draft(
            [
                SequenceChunk(
                    tokens: following, position: range.lowerBound, blocks: blocks, wanted: .all)
            ], hidden: hidden.view(rows: 0 ..< following.count), cache: cache)
        return try (0 ..< following.count).map { try Sampler.likeliest(result.logits.row($0)) }
    }
}
