import Foundation
import Language
import Models

/// The text of a job, tokenized and packed.
struct JobText {
    let train: PackedText
    /// Documents of the validation text, each padded to one length.
    let validation: [MicroBatch]

    /// Opens the token files, and makes those that are missing, or of other text than is there now.
    ///
    /// - Parameter makes: Whether this process may write them; others wait for it before.
    init(_ job: TrainingJob, makes: Bool) throws {
        let fingerprint = try TokenFile.fingerprint(tokenizer: job.tokenizer)
        let train = try Self.file(job, "train", job.sources, fingerprint, makes)
        self.train = try PackedText(train, sequenceLength: job.sequenceLength, seed: job.seed)
        guard !job.validation.isEmpty else {
            validation = []
            return
        }
        let file = try Self.file(job, "validation", job.validation, fingerprint, makes)
        let count = min(job.validationDocuments, file.documentCount)
        guard count >= job.dataRanks else {
            throw TrainingError.job(
                "validation",
                fact: "has \(count) documents: \(job.dataRanks) data ranks need one each "
                    + "(dataRanks, validationDocuments)")
        }
        let bounds = file.bounds()
        validation = (0 ..< count).map { document in
            let length = min(bounds[document + 1] - bounds[document], job.validationLength)
            let tokens = file.tokens(bounds[document] ..< bounds[document] + length)
            let padding = [Int32](repeating: 0, count: job.validationLength - length)
            let none = [Int32](repeating: -1, count: job.validationLength - length + 1)
            return MicroBatch(tokens: tokens + padding, targets: tokens.dropFirst() + none)
        }
    }

    private static func file(
        _ job: TrainingJob, _ name: String, _ sources: [String], _ fingerprint: UInt64,
        _ makes: Bool
    ) throws -> TokenFile {
        let path = job.output + "/\(name).tokens"
        let mark = TokenFile.mark(sources: sources, field: job.textField)
        if makes, FileManager.default.fileExists(atPath: path),
            try TokenFile(path: path, fingerprint: nil).sourceMark == mark
        {
            let found = try TokenFile(path: path, fingerprint: fingerprint)
            try found.check(vocabularySize: job.configuration().vocabularySize)
            return found
        }
        if makes {
            try OutputFolder.make(job.output, key: "output")
            let tokenizer = try Tokenizer(directory: URL(filePath: job.tokenizer))
            try TokenFile.write(
                sources: sources, field: job.textField, tokenizer: tokenizer,
                fingerprint: fingerprint, to: path)
        }
        return try TokenFile(path: path, fingerprint: fingerprint)
    }

    /// The micro-batches of one data rank in a step counted from 0.
    func batch(step: Int, dataRank: Int, options: TrainingOptions) -> [MicroBatch] {
        let shape = options.shape
        let sequences = options.ramp.sequences(step: step)
        let before = options.ramp.sequences(before: step) * shape.dataRanks * shape.microBatches
        let first = before + dataRank * shape.microBatches * sequences
        return (0 ..< shape.microBatches).map { index in
            var batch = MicroBatch(tokens: [], targets: [])
            for sequence in 0 ..< sequences {
                let next = train.sequence(first + index * sequences + sequence)
                batch.tokens += next.tokens
                batch.targets += next.targets
            }
            return batch
        }
    }
}
