import ArgumentParser
import Foundation
import Tensors

/// How many threads a command that works on checkpoints uses.
struct PoolArguments: ParsableArguments {
    @Option(help: "Threads (default: one per core).")
    var threads = ProcessInfo.processInfo.activeProcessorCount

    func validate() throws {
        guard (1 ... 256).contains(threads) else {
            throw ValidationError("--threads is \(threads); it goes from 1 to 256")
        }
    }

    var pool: ThreadPool { ThreadPool(threads: threads) }
}
