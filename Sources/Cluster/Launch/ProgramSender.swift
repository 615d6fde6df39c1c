import Foundation
import Synchronization

/// Sends the launcher's programs to the hosts of a job that lack them, to all hosts at once.
struct ProgramSender {
    /// What became of one host.
    typealias Outcome = Result<HostPrograms, ClusterError>

    private let job: JobConfiguration
    private let packages: ProgramPackages

    /// A sender of the programs in a folder.
    init(_ job: JobConfiguration, programs: URL) {
        self.job = job
        packages = ProgramPackages(folder: programs)
    }

    /// Asks every host, and sends what it lacks.
    ///
    /// - Parameters:
    ///   - sends: False asks only.
    ///   - told: Takes a line of progress every two seconds, and one at the end.
    /// - Returns: What became of each host that gets programs, by its name; hosts that were not
    ///   asked before `stop` was raised are missing.
    func run(
        sends: Bool, stop: StopFlag, told: (String) -> Void
    ) -> [String: Outcome] {
        // A connection that breaks is an error of the write, and no signal.
        signal(SIGPIPE, SIG_IGN)
        var outcomes: [String: Outcome] = [:]
        var transfers: [ProgramTransfer] = []
        for (host, ranks) in job.placedHosts where job.sendsPrograms(to: host) {
            do throws(ClusterError) {
                transfers.append(
                    try ProgramTransfer(
                        to: host, ranks: ranks, shell: job.ssh, sends: sends,
                        find: { [packages] architecture throws(ClusterError) in
                            try packages.find(architecture)
                        }))
            } catch {
                outcomes[host.name] = .failure(error)
            }
        }
        let begin = ContinuousClock.now
        let limit = Duration.seconds(job.deadlines.joinSeconds)
        var said = begin
        while !stop.isRaised, transfers.contains(where: { !$0.isOver && $0.silence < limit }) {
            stop.wait(Self.pollInterval)
            guard .now - said >= Self.progressInterval else { continue }
            said = .now
            if let line = Self.progress(transfers) { told(line) }
        }
        for transfer in transfers where !transfer.isOver { transfer.cut() }
        guard !stop.isRaised else { return outcomes }
        for transfer in transfers {
            outcomes[transfer.host.name] = Result { () throws(ClusterError) in
                try transfer.result(limit: job.deadlines.joinSeconds)
            }
        }
        if sends, let line = Self.summary(transfers, .now - begin) { told(line) }
        return outcomes
    }

    /// Short beside the start of ssh.
    private static let pollInterval = 0.02
    private static let progressInterval = Duration.seconds(2)

    private static func progress(_ transfers: [ProgramTransfer]) -> String? {
        let known = transfers.compactMap(\.progress).filter { $0.needed > 0 }
        guard !known.isEmpty else { return nil }
        let (sent, needed) = known.reduce((0, 0)) { ($0.0 + $1.sent, $0.1 + $1.needed) }
        return "programs: \(sent.bytesText) of \(needed.bytesText) sent to \(count(known.count))"
    }

    private static func summary(_ transfers: [ProgramTransfer], _ time: Duration) -> String? {
        let sent = transfers.compactMap(\.progress).map(\.sent).filter { $0 > 0 }
        guard !sent.isEmpty else { return nil }
        return "programs: \(sent.reduce(0, +).bytesText) sent to \(count(sent.count)) in"
            + " \((time / .seconds(1)).formatted(digits: 1)) s"
    }

    private static func count(_ hosts: Int) -> String { hosts == 1 ? "1 host" : "\(hosts) hosts" }
}

/// The programs for each architecture, each read once.
///
/// Safe because `known` is a lock, and `folder` is set once.
private final class ProgramPackages: Sendable {
    private let folder: URL
    private let known = Mutex<[String: ProgramPackage]>([:])

    init(folder: URL) { self.folder = folder }

    /// The programs for an architecture.
    ///
    /// - Throws: `ClusterError.badInput` with the file that is missing, and the remedy.
    func find(_ architecture: String) throws(ClusterError) -> ProgramPackage {
        let own = folder
        return try known.withLock { known throws(ClusterError) in
            if let package = known[architecture] { return package }
            guard let package = try ProgramPackage.find(architecture, in: own) else {
                let place = own.path(percentEncoded: false)
                throw ClusterError.badInput(
                    "its architecture is \(architecture), the launcher's"
                        + " \(ProgramPackage.ownArchitecture), and \(place) has no file"
                        + " apus-\(architecture): put the apus of a package for \(architecture)"
                        + " there under that name, or install Apus on the host and name its folder"
                        + " by programs")
            }
            known[architecture] = package
            return package
        }
    }
}
