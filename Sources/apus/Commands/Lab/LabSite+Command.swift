import ArgumentParser
import Cluster
import Foundation
import Topology

extension LabSite {
    /// Runs a command on every rank of a lab until all have ended, or this process is asked to.
    ///
    /// - Parameter file: A file of topology/.
    /// - Throws: `ExitCode` with the first status that is not 0.
    static func run(_ command: Command, in file: String, isPerNode: Bool = false) throws {
        var site = try LabSite(NodeMap(lab: file))
        let stop = StopFlag.onSignals()
        let ending = try site.perform(command, isPerNode: isPerNode, stop: stop)
        if let signal = stop.raisedBy { throw ExitCode(.signal(signal)) }
        if let failure = ending.ends.first(where: { !$0.isSuccess }) {
            throw ExitCode(failure.code)
        }
    }
}
