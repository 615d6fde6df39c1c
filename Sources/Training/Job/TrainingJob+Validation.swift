import Foundation
import Language
import Models

extension TrainingJob {
    /// Above any run's; below it no product of counts overflows.
    private static let most = 1 << 20
    /// Rows of a micro-batch: more do not fit a machine.
    private static let mostRows = 1 << 24

    /// Checks every value, and everything that can be known before any work.
    func validate() throws {
        try check("steps", steps, 1, 1 << 40)
        try check("sequenceLength", sequenceLength, 2, Self.most)
        try check("sequences", sequences, 1, Self.most)
        try check("sequences x sequenceLength", sequences * sequenceLength, 1, Self.mostRows)
        try check("threads", threads, 1, 256)
        try check("warmUpSteps", warmUpSteps, 0, 1 << 40)
        try check("constantSteps", constantSteps, 0, 1 << 40)
        try check("biasSteps", biasSteps ?? 0, 0, 1 << 40)
        try check("checkpointEvery", checkpointEvery, 1, 1 << 40)
        try check("keepCheckpoints", keepCheckpoints, 1, Self.most)
        try check("validateEvery", validateEvery, 1, 1 << 40)
        try check("validationLength", validationLength, 2, Self.most)
        try check("validationDocuments", validationDocuments, 1, Self.most)
        try checkNumbers()
        let shape = try options().shape
        try check("pipelineRanks", pipelineRanks, 1, 1024)
        try check("dataRanks", dataRanks, 1, 1024)
        try check("microBatches", microBatches, 1, 1 << 16)
        guard !train.isEmpty || teacher != nil else {
            throw TrainingError.job("train", fact: "names no file, and there is no teacher")
        }
        for file in train + validation + (teacher?.prompts ?? [])
        where !FileManager.default.fileExists(atPath: file) {
            throw TrainingError.job("the text", fact: "\(file) does not exist")
        }
        if let startFrom, !FileManager.default.fileExists(atPath: startFrom) {
            throw TrainingError.checkpoint(startFrom, fact: "does not exist (startFrom)")
        }
        try teacher?.validate()
        try checkChoices()
        let words = tokenizer + "/tokenizer.json"
        guard FileManager.default.fileExists(atPath: words) else {
            throw TrainingError.tokenFile(words, fact: "there is no such file")
        }
        let model = try configuration()
        try shape.validate(for: model)
        try check(model)
        let tokens = try Tokenizer(directory: URL(filePath: tokenizer)).vocabularySize
        guard tokens <= model.vocabularySize else {
            throw TrainingError.job(
                "tokenizer",
                fact: "\(tokenizer) has \(tokens) tokens: the model has \(model.vocabularySize) "
                    + "(vocab_size)")
        }
    }

    private func check(_ model: ModelConfiguration) throws {
        guard model.mtpLayerCount <= 1 else {
            throw TrainingError.job(
                "model",
                fact: "has \(model.mtpLayerCount) MTP modules (num_nextn_predict_layers): training "
                    + "has at most 1")
        }
        guard model.trains else {
            throw TrainingError.job(
                "model",
                fact: "is a \(model.architectures[0]), which is served and not trained")
        }
        guard sequenceLength <= model.positionLimit else {
            throw TrainingError.job(
                "sequenceLength",
                fact: "is \(sequenceLength): the model has \(model.positionLimit) positions "
                    + "(max_position_embeddings)")
        }
        // A value, a gradient, and two moments of two bytes each; a rank has more than its share.
        let ranks = pipelineRanks * dataRanks
        let bytes = 12 * Double(model.parameterCounts.total) / Double(ranks)
        let memory = ProcessInfo.processInfo.physicalMemory
        guard bytes <= Double(memory) else {
            throw TrainingError.job(
                "model",
                fact: "has \(model.parameterCounts.total) parameters: "
                    + "\(Int(bytes / 1e9)) GB on each of \(ranks) ranks, this node has "
                    + "\(memory / 1_000_000_000) GB")
        }
    }

    private func checkChoices() throws {
        try check("rampSteps", rampSteps, 0, 1 << 40)
        if let firstSequences, !(1 ... sequences).contains(firstSequences) {
            throw TrainingError.job(
                "firstSequences",
                fact: "is \(firstSequences): it must be 1 to \(sequences) (sequences)")
        }
        if let emaDecay, !(emaDecay > 0 && emaDecay < 1) {
            throw TrainingError.job(
                "emaDecay", fact: "is \(emaDecay): it must be between 0 and 1")
        }
        let known = ["auto", "shm", "tcp", "ucx", "rdma"]
        guard known.contains(transport) else {
            throw TrainingError.job(
                "transport", fact: "is \(transport): known are " + known.joined(separator: ", "))
        }
    }

    private func checkNumbers() throws {
        try check("learningRate", learningRate, 0, 1000)
        try check("finalLearningRate", finalLearningRate ?? 0, 0, 1000)
        try check("weightDecay", Double(weightDecay), 0, 1000)
        try check("clip", clip, .leastNonzeroMagnitude, 1e30)
        try check("biasStep", Double(biasStep), 0, 1000)
        try check("balanceWeight", Double(balanceWeight), 0, 1000)
        try check("mtpWeight", Double(mtpWeight), 0, 1000)
        try check("startDeviation", startDeviation, 0, 1000)
    }

    /// A `nan` lies outside every range.
    private func check<Value: Comparable>(
        _ name: String, _ value: Value, _ least: Value, _ most: Value
    ) throws {
        if value < least, least as? Int == 1, let count = value as? Int {
            throw TrainingError.notPositive(name, value: count)
        }
        guard value >= least, value <= most else {
            throw TrainingError.job(name, fact: "is \(value): it must lie in \(least)...\(most)")
        }
    }
}
