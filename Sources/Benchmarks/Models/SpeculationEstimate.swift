public import Models
import Tensors

/// What speculation would bring one stream of a model, from measured parts of its steps.
///
/// A step that verifies one draft computes two rows, and the MTP block drafts the next: of every
/// such step comes one token, and with the acceptance's probability a second.
public struct SpeculationEstimate: Codable, Sendable {
    /// Seconds of a step of one row.
    public var one: Double
    /// Seconds of a step of two rows of one sequence.
    public var two: Double
    /// Seconds that the head takes of the former.
    public var head: Double
    /// Seconds of drafting: measured where the checkpoint has an MTP block, else a layer and the
    /// head.
    public var draft: Double
    /// Whether `draft` was measured as a whole.
    public var hasBlock: Bool

    /// Tokens per second with speculation over those without.
    public func gain(acceptance: Double) -> Double { (1 + acceptance) * one / (two + draft) }

    /// The acceptance at which speculation gains nothing.
    public var breakEven: Double { (two + draft) / one - 1 }

    /// Measures the parts; each is the middle one of `repetitions`.
    ///
    /// - Parameter depth: Tokens that the stream has cached.
    public init(_ model: Model, cache: BlockCache, depth: Int, repetitions: Int) throws {
        let blocks = cache.blocks(tokens: depth + 2)
        var random = UInt64(1)
        func token() -> Int {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((random >> 33) % UInt64(model.configuration.vocabularySize))
        }
        func chunk(_ count: Int, _ wanted: WantedLogits) -> SequenceChunk {
            SequenceChunk(
                tokens: (0 ..< count).map { _ in token() }, position: depth, blocks: blocks,
                wanted: wanted)
        }
        func middle(_ body: () throws -> Void) throws -> Double {
            try body()
            let times = try (0 ..< repetitions).map { _ in
                let start = ContinuousClock.now
                try body()
                let time = (ContinuousClock.now - start).components
                return Double(time.seconds) + Double(time.attoseconds) * 1e-18
            }
            return times.sorted()[repetitions / 2]
        }
        var start = 0
        while start < depth {
            let count = min(512, depth - start)
            _ = try model.forward(
                [
                    SequenceChunk(
                        tokens: (0 ..< count).map { _ in token() }, position: start,
                        blocks: blocks, wanted: .none)
                ], cache: cache)
            start += count
        }
        one = try middle { _ = try model.forward([chunk(1, .last)], cache: cache) }
        two = try middle { _ = try model.forward([chunk(2, .all)], cache: cache) }
        let headless = try middle { _ = try model.forward([chunk(1, .none)], cache: cache) }
        head = max(0, one - headless)
        hasBlock = model.canDraft
        if hasBlock {
            let hidden = Tensor(rows: 2, columns: model.configuration.hiddenSize)
            hidden.fill(1)
            draft = try middle {
                _ = try model.draft([chunk(2, .last)], hidden: hidden, cache: cache)
            }
        } else {
            draft = headless / Double(model.configuration.layerCount) + head
        }
    }
}
