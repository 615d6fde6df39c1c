import Encoding
import Models
import Tensors

/// The model of a share, and the batches that step it.
final class ShareSteps {
    let model: Model
    private let options: ShareOptions
    private let cache: BlockCache
    /// Whether every logit so far was finite.
    private(set) var isFinite = true
    private var logits: Tensor?

    init(_ model: Model, _ options: ShareOptions) {
        self.model = model
        self.options = options
        cache = BlockCache(
            configuration: model.configuration, format: .bfloat16,
            blockCount: ShareLayout.cacheBlocks(options))
        // Of one rank too: its tokens go where the routing that is reported says.
        model.rankShare = RankShare(
            model.configuration, rankCount: options.ranks,
            ranksPerNode: options.ranksPerNode, compute: model.compute)
    }

    private func token(_ place: Int) -> Int {
        (place * 104_729 + 17) % model.configuration.vocabularySize
    }

    /// Reads a prompt.
    func prefill() throws {
        let count = options.prefill
        try forward([
            SequenceChunk(
                tokens: (0 ..< count).map(token), position: 0, blocks: cache.blocks(tokens: count))
        ])
    }

    /// Writes the next token of every sequence.
    func decode() throws {
        let blocks = cache.blocksNeeded(tokens: options.context)
        try forward(
            (0 ..< options.batch).map { sequence in
                SequenceChunk(
                    tokens: [token(sequence)], position: options.context - 1,
                    blocks: cache.blocks(tokens: options.context, from: sequence * blocks))
            })
    }

    private func forward(_ chunks: [SequenceChunk]) throws {
        logits = try model.forward(chunks, cache: cache).logits
    }

    /// Reads the logits of the last step, outside of its time.
    func check() {
        isFinite = isFinite && logits?.values.allSatisfy(\.isFinite) == true
    }

    /// Writes random entries to every block, so that each is memory of its own.
    func fillCache() {
        var random = SplitMix64(seed: options.seed)
        var bytes = [UInt8](repeating: 0x3c, count: cache.blockBytes)
        // bf16 from 2^-7 to 2^-5: the low byte is random.
        for index in stride(from: 0, to: bytes.count, by: 2) {
            bytes[index] = UInt8(truncatingIfNeeded: random.next())
        }
        for block in cache.blocks(tokens: cache.blockCount * cache.blockTokens) {
            cache.fill(block, with: bytes)
        }
    }
}
