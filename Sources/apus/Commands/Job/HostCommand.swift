import ArgumentParser
import Cluster

/// Runs the ranks of this host for a launcher elsewhere, which starts it by ssh.
struct HostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "host",
        abstract: "Runs the ranks of this host; apus launch starts it by ssh.",
        shouldDisplay: false)

    func run() throws {
        try reporting {
            try HostSupervisor(instruments: .ofThisProgram).run(stop: StopFlag.onSignals())
        }
    }
}
