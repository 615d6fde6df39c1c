import Cluster
import Foundation
import Tensors
import Topology

/// What a person should know before a command computes.
enum ComputeNotes {
    /// Says it: that the level of instructions is slow, that threads outnumber the cores.
    ///
    /// - Parameter threads: Of all ranks of this process together.
    /// - Throws: `TensorError.level` where `APUS_CPU` names none.
    static func say(threads: Int) throws {
        let level = try Processor.check(ProcessInfo.processInfo.environment)
        for note in [level, CoreLimit.ofProcess.note(threads: threads)].compactMap(\.self) {
            StandardStream.error.say("note: \(note)\n")
        }
    }
}
