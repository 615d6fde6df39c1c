import ArgumentParser
import Cluster
import Foundation

/// Shows what the processes of a job wrote.
struct LogsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Shows the logs of a job's coordinator and ranks as one, in order of time.",
        discussion: """
            Ranks on hosts behind ssh are in it. Control characters are shown, not sent to the \
            terminal.

              apus logs
              apus logs tale --rank 3 --lines 50
              apus logs --follow
            """)

    @Argument(help: "A job's name or folder; default the one that runs, else the newest.")
    var job: String?
    @Option(help: "Only this rank.") var rank: Int?
    @Flag(help: "Only the coordinator.") var coordinator = false
    @Option(name: [.customShort("n"), .long], help: "Only the last lines; default all.")
    var lines: Int?
    @Flag(name: .shortAndLong, help: "Go on with what is written until the job ends.")
    var follow = false

    /// They are kept until the end is known.
    private static let mostLines = 1_000_000

    func validate() throws {
        if rank != nil, coordinator { throw ValidationError("--rank and --coordinator: one log") }
        if let rank, rank < 0 { throw ValidationError("--rank \(rank) is below 0") }
        if let lines, !(0 ... Self.mostLines).contains(lines) {
            throw ValidationError("--lines \(lines) is not 0 to \(Self.mostLines)")
        }
    }

    func run() throws {
        try reporting {
            let folder = try JobSelection.folder(job, mayHaveEnded: true)
            let process = coordinator ? "coordinator" : rank.map { "rank-\($0)" }
            var logs = try JobLogs(of: folder, process: process)
            if logs.isEmpty, !follow {
                throw ClusterError.badInput(
                    "\(folder.url.path(percentEncoded: false)) has no log of a coordinator or rank")
            }
            try showWhatIsThere(&logs)
            guard follow else { return }
            while true {
                let isOver = !folder.isRunning
                while let line = logs.next() { print(line) }
                try StandardStream.flush()
                if isOver {
                    for line in logs.rest() { print(line) }
                    return
                }
                logs.findNew()
                Thread.sleep(forTimeInterval: 0.2)
            }
        }
    }

    private func showWhatIsThere(_ logs: inout JobLogs) throws {
        guard let lines else {
            while let line = logs.next() { print(line) }
            if !follow { for line in logs.rest() { print(line) } }
            return
        }
        var last: [String] = []
        while let line = logs.next() {
            last.append(line)
            // Twice as many are kept, so that what is dropped is moved seldom.
            if last.count >= 2 * lines + 64 { last.removeFirst(last.count - lines) }
        }
        if !follow { last += logs.rest() }
        for line in last.suffix(lines) { print(line) }
    }
}
