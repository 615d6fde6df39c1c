public import ArgumentParser
import Checkpoints
public import Cluster
import Models
import Serving
import Tensors
import Topology

/// Which model a command runs, and how.
struct ModelArguments: ParsableArguments {
    @Option(help: "Checkpoint folder: config.json, tokenizer.json, *.safetensors.")
    var model: String

    @Option(
        name: .shortAndLong,
        help: "Threads of each rank (default: all cores that the process may use).")
    var threads: Int?

    @Option(help: "fp32 or bf16: how activations enter matrix products (default: as stored).")
    var compute: ComputeMode?

    @Option(help: "Latent cache: bf16, fp8 or fp32 (default: bf16; fp32 with --compute fp32).")
    var cache: CacheFormat?

    func validate() throws {
        if let threads, !(1 ... 256).contains(threads) {
            throw ValidationError("--threads \(threads) is outside 1...256")
        }
    }

    /// The threads to use, shared evenly among ranks of this machine.
    func threads(ranks: Int = 1) -> Int {
        threads ?? ThreadPool.threads(on: CoreLimit.ofProcess.cores, ranks: ranks)
    }

    /// One of the ranks of this process that serve the model.
    func rank(ranks: Int) -> ServingRankConfiguration {
        var rank = ServingRankConfiguration(directory: model)
        rank.compute = compute?.value
        rank.cacheFormat = cache.flatMap { EntryFormat(name: $0.rawValue) }
        rank.threads = threads(ranks: ranks)
        return rank
    }

    /// Tells people what of a folder is not run.
    @Sendable static func note(_ text: String) { StandardStream.error.say("note: \(text)\n") }

    /// Reads the configuration and packs all weights, telling a terminal how far it is.
    func load() throws -> LoadedModel {
        let folder = try ModelFolder(directory: model)
        folder.notes.forEach(Self.note)
        let (checkpoint, configuration) = (folder.checkpoint, folder.configuration)
        let pool = ThreadPool(threads: threads())
        try ComputeNotes.say(threads: pool.threads)
        let mode = try compute?.value ?? checkpoint.defaultCompute(of: configuration)
        let bar = ProgressBar("loading")
        defer { bar.finish() }
        let loaded = try Model(
            checkpoint, configuration: configuration, options: ModelOptions(compute: mode),
            pool: pool
        ) { bar.show($0) }
        return LoadedModel(
            model: loaded, pool: pool,
            format: cache.flatMap { EntryFormat(name: $0.rawValue) }
                ?? (mode == .float32 ? .float32 : .bfloat16))
    }
}

/// A model that is ready to run.
struct LoadedModel {
    let model: Model
    let pool: ThreadPool
    let format: EntryFormat

    /// A cache for one text of at most this many tokens.
    func cache(tokens: Int) -> BlockCache {
        let limit = min(tokens, model.contextLimit)
        let blocks = (limit + BlockCache.defaultBlockTokens) / BlockCache.defaultBlockTokens
        return BlockCache(
            configuration: model.configuration, format: format, blockCount: blocks)
    }
}

/// `--compute`.
enum ComputeMode: String, ExpressibleByArgument, CaseIterable {
    case fp32, bf16

    var value: Compute { self == .fp32 ? .float32 : .bfloat16 }
}

extension CacheFormat: ExpressibleByArgument {}
