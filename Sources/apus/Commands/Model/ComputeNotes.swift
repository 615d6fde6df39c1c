import Cluster
import Foundation
import Tensors
import Topology

/// What a person should know before a command computes.
enum ComputeNotes {
    /// Says it: that the level of instructions is slow, that threads outnumber the cores.
    ///
    /// Then gives each kind of product the fastest level.
    ///
    /// - Parameter threads: Of all ranks of this process together.
    /// - Returns: The choice.
    /// - Throws: `TensorError.level` where `APUS_CPU` names none.
    @discardableResult static func say(threads: Int) throws -> KernelChoice {
        let environment = ProcessInfo.processInfo.environment
        let level = try Processor.check(environment)
        for note in [level, CoreLimit.ofProcess.note(threads: threads)].compactMap(\.self) {
            StandardStream.error.say("note: \(note)\n")
        }
        return KernelChoice.make(environment)
    }
}
