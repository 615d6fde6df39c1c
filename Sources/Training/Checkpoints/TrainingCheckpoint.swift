import Checkpoints
import Encoding
import Foundation
import Models
import Tensors
import Topology
import Transport

/// The state of a run on disk: one folder per kept step, one file per rank in it.
///
/// Values are stored whole by the first holder of each parameter; moments in the parts that each
/// rank owns, named by where the part begins. So another number of ranks can read it: it takes the
/// values by name and puts the moments together.
///
/// Atomic: ranks write into `step-N.partial`; when all are done and on disk, one rename makes it
/// `step-N`. A run that dies meanwhile leaves the older folder as it was.
public struct TrainingCheckpoint {
    /// What a folder says of its run.
    struct State: Codable {
        var step: Int
        var seed: UInt64
        var rankCount: Int
        var tokensPerStep: Int
        /// Tokens of the text that were read, by all ranks; older files do not say.
        var tokensRead: Int?
    }

    static func name(step: Int) -> String {
        "step-" + String(repeating: "0", count: max(0, 8 - "\(step)".count)) + "\(step)"
    }

    /// What a checkpoint's `state.json` says.
    static func state(in directory: String) throws -> State {
        let path = directory + "/state.json"
        let data = try WholeFile.read(path, limit: 1 << 20) {
            TrainingError.checkpoint(path, fact: "\($0)")
        }
        do {
            let state = try JSONDecoder().decode(State.self, from: data)
            guard state.step >= 0, (1 ... 1 << 20).contains(state.rankCount) else {
                throw TrainingError.checkpoint(
                    path, fact: "step \(state.step) of \(state.rankCount) ranks cannot be")
            }
            return state
        } catch let error as DecodingError {
            throw TrainingError.checkpoint(path, fact: "\(error)")
        }
    }

    /// The newest complete checkpoint in a run's folder.
    public static func newest(in directory: String) -> String? {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.filter { $0.hasPrefix("step-") && $0.dropFirst(5).allSatisfy(\.isNumber) }
            .max()
            .map { directory + "/" + $0 }
    }

    /// The checkpoint that a run of a job goes on from; nil for a run that begins anew.
    ///
    /// - Throws: `TrainingError.checkpoint` where there is nothing to resume, or where a run that
    ///   begins would write over an earlier one.
    static func start(of job: TrainingJob, resumes: Bool) throws(TrainingError) -> String? {
        let folder = job.output + "/checkpoints"
        let newest = newest(in: folder)
        if resumes, newest == nil {
            throw .checkpoint(
                folder, fact: "has no checkpoint to resume: begin the run without --resume")
        }
        if !resumes, let newest {
            throw .checkpoint(
                newest,
                fact: "is of an earlier run: --resume goes on from it, another output begins anew")
        }
        return newest
    }
}

extension ModelConfiguration {
    /// The network alone, whatever a file stores its weights in.
    fileprivate var withoutStorage: ModelConfiguration {
        var result = self
        result.quantization = nil
        result.storedType = ""
        return result
    }
}

extension RankTrainer {
    /// Writes this rank's part; the last one to finish makes the checkpoint appear. Collective.
    ///
    /// - Parameter keeping: How many checkpoints stay, this one included.
    public func save(in directory: String, keeping: Int) throws {
        let name = TrainingCheckpoint.name(step: step)
        let partial = directory + "/" + name + ".partial"
        let files = FileManager.default
        var failure: (any Error)?
        do {
            try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
            try writeState(to: partial + "/rank-\(fabric.rank.rawValue).safetensors")
            if fabric.rank == 0 { try describe(in: partial) }
        } catch { failure = error }
        // Everyone learns whether everyone has written before anything is renamed.
        let words = try fabric.allGather(
            Array((failure.map { "\($0)" } ?? "").utf8), label: "checkpoint \(step)",
            deadline: fabric.deadline(.seconds(300), "checkpoint"))
        if let rank = words.firstIndex(where: { !$0.isEmpty }) {
            if fabric.rank == 0 { try? files.removeItem(atPath: partial) }
            throw TrainingError.checkpoint(
                partial, fact: "rank \(rank): " + String(decoding: words[rank], as: UTF8.self))
        }
        if fabric.rank == 0 { try publish(directory, name) }
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "checkpoint"))
        if fabric.rank == 0 { prune(directory, through: name, keeping: keeping) }
    }

    /// Writes what the folder says of its run.
    private func describe(in partial: String) throws {
        let state = TrainingCheckpoint.State(
            step: step, seed: options.seed, rankCount: fabric.rankCount,
            tokensPerStep: options.tokensPerStep, tokensRead: options.tokens(before: step))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        for (name, text) in [
            ("state.json", try encoder.encode(state)),
            ("config.json", try options.model.encoded()),
        ] {
            let sink = try FileSink(path: partial + "/" + name)
            try sink.append(Array(text))
            try sink.synchronize()
        }
    }

    private func publish(_ directory: String, _ name: String) throws {
        let target = directory + "/" + name
        let partial = target + ".partial"
        // A run of more ranks that was killed here has left files that are none of this state.
        let own = Set(
            (0 ..< fabric.rankCount).map { "rank-\($0).safetensors" }
                + ["state.json", "config.json"])
        let files = FileManager.default
        for stray in try files.contentsOfDirectory(atPath: partial) where !own.contains(stray) {
            try files.removeItem(atPath: partial + "/" + stray)
        }
        try? files.removeItem(atPath: target)
        try FileSink.synchronize(folder: partial)
        try files.moveItem(atPath: partial, toPath: target)
        try FileSink.synchronize(folder: directory)
    }

    /// Removes what is older than the last few checkpoints up to this one.
    private func prune(_ directory: String, through name: String, keeping: Int) {
        let files = FileManager.default
        let names = (try? files.contentsOfDirectory(atPath: directory)) ?? []
        let complete = names.filter {
            $0.hasPrefix("step-") && !$0.hasSuffix(".partial") && $0 <= name
        }.sorted()
        for old in complete.dropLast(keeping) {
            try? files.removeItem(atPath: directory + "/" + old)
        }
    }

    /// Writes what this rank stores of the state, and waits for the disk.
    private func writeState(to path: String) throws {
        let stored = storedState()
        let file = try SafetensorsWriter(path: path, tensors: stored.map(\.tensor))
        for item in stored { try item.write(file, item.tensor.name) }
        try file.finish(synchronizing: true)
    }

    /// A tensor of this rank's file, and what writes it.
    private struct StoredState {
        let tensor: OutputTensor
        let write: (SafetensorsWriter, String) throws -> Void

        /// Values as they are; a vector is stored without its row.
        init(_ name: String, _ values: Tensor, isVector: Bool) {
            tensor = OutputTensor(
                name: name, type: .float32,
                shape: isVector ? [values.count] : [values.rows, values.columns])
            write = { try $0.write(values, to: $1) }
        }

        /// bf16 patterns of a part of a parameter.
        init(_ name: String, patterns: [UInt16]) {
            tensor = OutputTensor(name: name, type: .bfloat16, shape: [patterns.count])
            write = { try $0.write(patterns, to: $1) }
        }
    }

    /// What this rank stores: the values that it holds first, the moments that it owns.
    private func storedState() -> [StoredState] {
        var stored: [StoredState] = []
        for item in sync.owned {
            let parameter = item.parameter
            if item.holders.first == fabric.rank {
                stored.append(
                    StoredState(
                        parameter.name, parameter.value, isVector: parameter.isVector))
            }
            guard !item.range.isEmpty else { continue }
            let place = "\(item.range.lowerBound).\(parameter.name)"
            stored.append(StoredState("first.\(place)", patterns: item.moments.first))
            stored.append(StoredState("second.\(place)", patterns: item.moments.second))
            if let average = item.average {
                stored.append(StoredState("average.\(place)", average, isVector: true))
            }
        }
        var written: Set<String> = []
        for layer in routedLayers where ownsBias(of: layer) {
            if let bias = layer.gate.bias, let name = layer.gate.biasName,
                written.insert(name).inserted
            {
                stored.append(StoredState(name, bias, isVector: true))
            }
        }
        return stored
    }

    /// A gate's bias is stored by the rank that stores its weight.
    private func ownsBias(of layer: TrainedExperts) -> Bool {
        sync.owned.first { $0.parameter.name == layer.gate.weight.name }?.holders.first
            == fabric.rank
    }

    /// Takes up where a checkpoint of this run was left, by any number of ranks.
    ///
    /// - Throws: `TrainingError.checkpoint` also where the rest of the text would not follow.
    public func resume(from directory: String) throws {
        let state = try TrainingCheckpoint.state(in: directory)
        guard state.seed == options.seed else {
            throw TrainingError.checkpoint(
                directory,
                fact: "is of seed \(state.seed), the job's is \(options.seed): texts would come in "
                    + "another order (startFrom begins a new run with its weights)")
        }
        let read = options.tokens(before: state.step)
        guard state.tokensPerStep == options.tokensPerStep, state.tokensRead ?? read == read else {
            throw TrainingError.checkpoint(
                directory,
                fact: "is of \(state.tokensPerStep) tokens a step, \(state.tokensRead ?? read) in "
                    + "all; the job's are \(options.tokensPerStep) and \(read) (sequenceLength x "
                    + "sequences x microBatches x data ranks, firstSequences): text would be "
                    + "skipped or read again (startFrom begins a new run with its weights)")
        }
        let store = try CheckpointReader(directory: directory)
        try loadValues(store)
        // What no shape of a tensor tells: the experts of a token, layers that the job lacks.
        let shape = try ModelConfiguration.load(directory: directory)
        guard shape.withoutStorage == options.model.withoutStorage else {
            throw TrainingError.checkpoint(
                directory + "/config.json", fact: "is another model than the job's (model)")
        }
        for item in sync.owned where !item.range.isEmpty {
            let count = item.parameter.value.count
            let name = item.parameter.name
            let first = try store.moments("first", of: name, count: count)
            let second = try store.moments("second", of: name, count: count)
            item.moments.first = Array(first[item.range])
            item.moments.second = Array(second[item.range])
        }
        step = state.step
        guard options.averageDecay != nil else { return }
        sync.beginAverages()
        for item in sync.owned {
            guard let average = item.average, store.hasAverage(of: item.parameter.name) else {
                continue
            }
            let whole = Tensor(rows: 1, columns: item.parameter.value.count)
            try store.readAverage(of: item.parameter.name, into: whole)
            average.copy(from: flat(whole, item.range))
        }
    }

    /// Begins with the values of a checkpoint: of a run, or a published model to fine-tune.
    public func start(from directory: String) throws {
        let shape = try ModelConfiguration.load(directory: directory)
        let counts = [shape, options.model].map {
            "\($0.layerCount) layers and \($0.mtpLayerCount) MTP"
        }
        guard counts[0] == counts[1] else {
            throw TrainingError.checkpoint(
                directory, fact: "has \(counts[0]), the job's model \(counts[1]) (startFrom)")
        }
        try loadValues(try CheckpointReader(directory: directory))
        if options.averageDecay != nil { sync.beginAverages() }
    }

    private func loadValues(_ store: CheckpointReader) throws {
        for item in sync.owned {
            try store.read(item.parameter.name, into: item.parameter.value)
        }
        for layer in routedLayers {
            if let bias = layer.gate.bias, let name = layer.gate.biasName {
                try store.read(name, into: bias)
            }
        }
    }
}
