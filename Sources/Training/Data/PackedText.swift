import Encoding

/// Documents packed back to back into sequences, in an order that the seed alone decides.
///
/// Every epoch shuffles the documents anew. A sequence may begin and end inside a document, and
/// attention is not cut at their borders (DeepSeek-V3 report, §4.1).
final class PackedText {
    private let file: TokenFile
    private let length: Int
    private let seed: UInt64
    private let bounds: [Int]
    private var epoch = -1
    /// The documents of the epoch in order, and where each begins in its stream.
    private var order: [Int] = []
    private var starts: [Int] = []

    /// - Throws: `TrainingError.tokenFile` if the text is shorter than one sequence.
    init(_ file: TokenFile, sequenceLength: Int, seed: UInt64) throws {
        guard file.tokenCount > sequenceLength else {
            throw TrainingError.job(
                "the text",
                fact: "has \(file.tokenCount) tokens: a sequence needs "
                    + "\(sequenceLength + 1) (sequenceLength)")
        }
        self.file = file
        length = sequenceLength
        self.seed = seed
        bounds = file.bounds()
    }

    /// Sequences of one epoch.
    var sequencesPerEpoch: Int { (file.tokenCount - 1) / length }

    /// Sequence `number` of the run, counted over epochs: its tokens and what follows each.
    func sequence(_ number: Int) -> MicroBatch {
        begin(epoch: number / sequencesPerEpoch)
        let start = number % sequencesPerEpoch * length
        let tokens = stream(start ..< start + length + 1)
        return MicroBatch(tokens: Array(tokens.dropLast()), targets: Array(tokens.dropFirst()))
    }

    private func begin(epoch: Int) {
        guard epoch != self.epoch else { return }
        self.epoch = epoch
        var random = SplitMix64(seed: seed, name: "epoch \(epoch)")
        order = Array(0 ..< file.documentCount).shuffled(using: &random)
        starts = []
        var at = 0
        for document in order {
            starts.append(at)
            at += bounds[document + 1] - bounds[document]
        }
    }

    private func stream(_ range: Range<Int>) -> [Int32] {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= range.lowerBound { low = middle } else { high = middle }
        }
        var result: [Int32] = []
        var place = range.lowerBound
        while result.count < range.count {
            let document = order[low]
            let from = bounds[document] + place - starts[low]
            let count = min(bounds[document + 1] - from, range.count - result.count)
            result += file.tokens(from ..< from + count)
            place += count
            low += 1
        }
        return result
    }
}
