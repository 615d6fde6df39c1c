import Encoding
import Foundation
import Models
public import Serving
import Tensors
import Topology
public import Transport

/// What two-batch overlap hides: the same steps whole and split in two micro-batches, in turn.
///
/// Collective; every rank computes a batch of its own.
public struct OverlapBenchmark {
    /// One kind of step.
    public struct Load: Hashable, Sendable {
        /// Sequences of each rank.
        public var sequences: Int
        /// Tokens of each in one step: 1 decodes, more read a prompt.
        public var tokens: Int
        /// Tokens of each that were cached before.
        public var depth: Int

        /// A kind of step.
        public init(sequences: Int, tokens: Int, depth: Int) {
            self.sequences = sequences
            self.tokens = tokens
            self.depth = depth
        }
    }

    /// Means of the ranks and of all steps of a way, in seconds.
    public struct Way: Codable, Hashable, Sendable {
        /// From a barrier until the slowest rank had its logits.
        public var step = 0.0
        /// While at least one dispatch or combine of a rank was under way.
        public var travel = 0.0
        /// The part of it in which the rank stood still.
        public var exposed = 0.0
    }

    /// Both ways of a load.
    public struct Result: Codable, Sendable {
        /// Tokens of all ranks in a step.
        public var tokens: Int
        /// Steps that were not split.
        public var whole: Way
        /// Steps of two micro-batches.
        public var split: Way
        /// Whether both ways gave every rank the same bits.
        public var isSame: Bool

        /// The part of the whole step's travel that a split step does not wait for.
        public var hiddenShare: Double {
            whole.travel > 0 ? 1 - split.exposed / whole.travel : 0
        }
    }

    /// What one rank measured of one step.
    private struct Sample: Codable {
        var step: Double
        var travel: Double
        var exposed: Double
    }

    private let fabric: any Fabric
    private let network: DeepSeekNetwork
    private let limit: Duration

    /// - Parameter limit: How long a rank may wait for the others.
    public init(_ network: DeepSeekNetwork, fabric: any Fabric, limit: Duration = .seconds(120)) {
        self.network = network
        self.fabric = fabric
        self.limit = limit
    }

    /// Blocks of latents that a load takes.
    public static func blocks(_ load: Load, blockTokens: Int) -> Int {
        load.sequences * ((load.depth + load.tokens + blockTokens - 1) / blockTokens)
    }

    /// Runs a load both ways.
    ///
    /// - Parameter repetitions: Measured steps of each way, after one of each that is not.
    public func run(_ load: Load, repetitions: Int) throws -> Result {
        let whole = chunks(load)
        let halves = Self.halves(whole)
        var samples: [[Sample]] = [[], []]
        var logits: [[Float]] = [[], []]
        for round in 0 ... repetitions {
            for way in 0 ..< 2 {
                try fabric.barrier(deadline: fabric.deadline(limit, "overlap benchmark"))
                let start = ContinuousClock.now
                if way == 0 {
                    logits[0] = try network.forward(whole, keepsHidden: false).logits.values
                } else {
                    let (a, b) = try network.forward(
                        halves.0, halves.1, keepsHidden: false)
                    logits[1] = a.logits.values + b.logits.values
                }
                let seconds = (ContinuousClock.now - start).seconds
                let time = network.takeTime()
                guard round > 0 else { continue }
                samples[way].append(
                    Sample(step: seconds, travel: time.travel, exposed: time.exposed))
            }
        }
        return try gathered(load, samples, isSame: logits[0] == logits[1])
    }

    /// A batch whose tokens differ from rank to rank.
    private func chunks(_ load: Load) -> [SequenceChunk] {
        let each = Self.blocks(
            Load(sequences: 1, tokens: load.tokens, depth: load.depth),
            blockTokens: network.blockTokens)
        var random = SplitMix64(seed: UInt64(fabric.rank.rawValue + 1))
        return (0 ..< load.sequences).map { sequence in
            SequenceChunk(
                tokens: (0 ..< load.tokens).map { _ in
                    Int(random.next() % UInt64(network.vocabularySize))
                },
                position: load.depth,
                blocks: (sequence * each ..< (sequence + 1) * each).map {
                    BlockID(rawValue: Int32($0))
                }, wanted: .last)
        }
    }

    /// Cuts a batch as an engine does; a sequence's first piece needs no logits.
    private static func halves(
        _ chunks: [SequenceChunk]
    ) -> ([SequenceChunk], [SequenceChunk]) {
        let entries = chunks.enumerated().map { index, chunk in
            StepEntry(
                id: RequestID(rawValue: UInt64(index)), tokens: chunk.tokens, draftCount: 0,
                start: chunk.position, reachesEnd: true, blocks: chunk.blocks)
        }
        let (first, second) = StepEntry.halves(of: entries)
        func chunk(_ entry: StepEntry) -> SequenceChunk {
            SequenceChunk(
                tokens: entry.tokens, position: entry.start, blocks: entry.blocks,
                wanted: entry.reachesEnd ? .last : .none)
        }
        return (first.map(chunk), second.map(chunk))
    }

    private func gathered(
        _ load: Load, _ samples: [[Sample]], isSame: Bool
    ) throws -> Result {
        struct Report: Codable {
            var samples: [[Sample]]
            var isSame: Bool
        }
        let blob = try JSONEncoder().encode(Report(samples: samples, isSame: isSame))
        let reports = try fabric.allGather(
            Array(blob), label: "overlap benchmark",
            deadline: fabric.deadline(limit, "overlap benchmark")
        ).map { try JSONDecoder().decode(Report.self, from: Data($0)) }
        func way(_ index: Int) -> Way {
            let all = reports.flatMap { $0.samples[index] }
            func mean(_ value: (Sample) -> Double) -> Double {
                all.isEmpty ? 0 : all.map(value).reduce(0, +) / Double(all.count)
            }
            let rounds = samples[index].indices
            let slowest = rounds.map { round in
                reports.map { $0.samples[index][round].step }.max() ?? 0
            }
            return Way(
                step: slowest.reduce(0, +) / Double(max(1, slowest.count)),
                travel: mean(\.travel), exposed: mean(\.exposed))
        }
        return Result(
            tokens: fabric.rankCount * load.sequences * load.tokens, whole: way(0), split: way(1),
            isSame: reports.allSatisfy(\.isSame))
    }
}
