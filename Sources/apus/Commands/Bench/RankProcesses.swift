import ArgumentParser
import Cluster
import Foundation
import Topology
import Transport

/// Children of this process, each a rank with this program's own arguments.
struct RankProcesses {
    let count: Int

    /// Tells a child that ranks outnumber the cores, so that it takes one in turn.
    static let bindVariable = "APUS_BIND"

    /// Serves the rendezvous, starts the ranks, and waits for all.
    func run() throws {
        let token = RendezvousToken.random()
        let rendezvous = try TCPRendezvous(address: "127.0.0.1:0", rankCount: count, token: token)
        defer { rendezvous.close() }
        let isCrowded = count > ProcessInfo.processInfo.activeProcessorCount
        let commands = (0 ..< count).map { rank in
            var command = Command.ownCommand
            command.environment = [
                "APUS_RANK": "\(rank)", "APUS_RANK_COUNT": "\(count)",
                "APUS_RENDEZVOUS": rendezvous.address, "APUS_TOKEN": token,
            ]
            if isCrowded { command.environment[Self.bindVariable] = "1" }
            return command
        }
        // Ctrl-C ends this process, and the ranks follow it.
        let ending = try ChildGroup(commands).wait(stop: StopFlag())
        if let cause = Self.cause(of: ending) {
            StandardStream.error.say("apus: \(cause)\n")
            throw ExitCode(.lost)
        }
        if let failure = ending.ends.first(where: { !$0.isSuccess }) {
            throw ExitCode(failure.code)
        }
    }

    /// Which rank a signal ended, or did not end, if one did: before ranks have met, no other can
    /// say.
    private static func cause(of ending: ChildGroup.Ending) -> String? {
        let late = Set(ending.late)
        let killed = ending.ends.indices.first { rank in
            guard case .killed = ending.ends[rank] else { return false }
            return !late.contains(rank)
        }
        var cause: String?
        if let killed, case .killed(let signal) = ending.ends[killed] {
            cause = "rank \(killed) was ended by signal \(signal)"
        }
        guard !late.isEmpty, let first = ending.firstFailure else { return cause }
        let names = ending.late.map { "rank \($0)" }.joined(separator: ", ")
        return (cause ?? "rank \(first) failed")
            + "; \(names) did not end within \(ChildGroup.grace) of that, and was killed"
    }
}
