public import Tensors

/// Which rows of a chunk need logits: the head is the largest matrix, so no other row goes through
/// it.
public enum WantedLogits: Sendable, Equatable {
    /// None: more of the prompt follows.
    case none
    /// The last row, to choose the next token.
    case last
    /// Every row, to verify drafts or to evaluate a text.
    case all
}

/// Consecutive tokens of one sequence that go through the model together: a piece of a prompt, or
/// the newest token.
public struct SequenceChunk: Sendable {
    /// Token ids.
    public var tokens: [Int]
    /// How many tokens of the sequence are cached before these.
    public var position: Int
    /// The sequence's block table, long enough for these tokens too.
    public var blocks: [BlockID]
    /// Which rows need logits.
    public var wanted: WantedLogits

    /// Describes a chunk.
    public init(
        tokens: [Int], position: Int, blocks: [BlockID], wanted: WantedLogits = .last
    ) {
        self.tokens = tokens
        self.position = position
        self.blocks = blocks
        self.wanted = wanted
    }
}

/// What a forward gives back.
public struct ForwardResult {
    /// `[wanted rows, vocab]`, in the order of the chunks.
    public let logits: Tensor
    /// `[rows, hidden]` after the final norm, what an MTP block continues from; nil unless asked.
    public let hidden: Tensor?

    /// States a result.
    package init(logits: Tensor, hidden: Tensor?) {
        self.logits = logits
        self.hidden = hidden
    }
}

/// A batch laid out row after row, as the kernels read it.
struct BatchRows {
    let tokens: [Int]
    let positions: [Int32]
    /// Where each row's entry goes.
    let places: [(block: Int, slot: Int)]
    let attention: AttentionBatch
    /// What the last block that chose has chosen.
    let choice = SharedChoice()
    /// The rows that need logits.
    let wanted: [Int]

    /// Lays out chunks and checks every token, position and block.
    init(_ chunks: [SequenceChunk], _ limits: BatchLimits, blockTokens: Int) throws {
        var tokens: [Int] = []
        var positions: [Int32] = []
        var places: [(block: Int, slot: Int)] = []
        var attention = AttentionBatch()
        var wanted: [Int] = []
        for chunk in chunks where !chunk.tokens.isEmpty {
            try limits.check(chunk, blockTokens: blockTokens)
            let end = chunk.position + chunk.tokens.count
            for position in chunk.position ..< end {
                positions.append(Int32(position))
                places.append(
                    (
                        block: Int(chunk.blocks[position / blockTokens].rawValue),
                        slot: position % blockTokens
                    ))
            }
            tokens += chunk.tokens
            attention.append(
                blocks: chunk.blocks.prefix((end + blockTokens - 1) / blockTokens).map(\.rawValue),
                position: chunk.position, tokens: chunk.tokens.count)
            switch chunk.wanted {
            case .none: break
            case .last: wanted.append(tokens.count - 1)
            case .all: wanted += tokens.count - chunk.tokens.count ..< tokens.count
            }
        }
        self.tokens = tokens
        self.positions = positions
        self.places = places
        self.attention = attention
        self.wanted = wanted
    }
}

/// The entries that a block of sparse attention chose, for the blocks after it that share them.
final class SharedChoice {
    /// Nil where every row sees all of its entries.
    var chosen: ChosenPositions?
}

/// What a chunk is checked against.
struct BatchLimits {
    let vocabularySize: Int
    let contextLimit: Int
    let blockCount: Int

    func check(_ chunk: SequenceChunk, blockTokens: Int) throws {
        for token in chunk.tokens where token < 0 || token >= vocabularySize {
            throw ModelError.request(
                "token \(token) is out of range: the model has \(vocabularySize) (vocab_size)")
        }
        let end = chunk.position + chunk.tokens.count
        guard chunk.position >= 0, end <= contextLimit else {
            throw ModelError.request(
                "\(end) tokens exceed the context of \(contextLimit) (max_position_embeddings)")
        }
        guard chunk.blocks.count * blockTokens >= end else {
            throw ModelError.request(
                "\(end) tokens need more than \(chunk.blocks.count) blocks of \(blockTokens)")
        }
        for block in chunk.blocks where block.rawValue < 0 || block.rawValue >= blockCount {
            throw ModelError.request(
                "block \(block.rawValue) is out of range: the cache has \(blockCount)")
        }
    }
}
