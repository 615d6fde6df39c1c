import ArgumentParser
import Tensors
import Topology

/// How many threads a command that works on checkpoints uses.
struct PoolArguments: ParsableArguments {
    @Option(help: "Threads (default: one per core that the process may use).")
    var threads = ThreadPool.threads(on: CoreLimit.ofProcess.cores)

    func validate() throws {
        guard (1 ... 256).contains(threads) else {
            throw ValidationError("--threads is \(threads); it goes from 1 to 256")
        }
    }

    func pool() throws -> ThreadPool {
        try ComputeNotes.say(threads: threads)
        return ThreadPool(threads: threads)
    }
}
