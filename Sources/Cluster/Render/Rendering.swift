import Foundation
import Topology

/// What a program that starts jobs elsewhere is given for a job: text that people read, change and
/// submit themselves.
public struct Rendering {
    /// The programs that Apus writes files for.
    public enum Target: String, CaseIterable, Sendable {
        /// A script for `sbatch`.
        case slurm
        /// A LeaderWorkerSet with what belongs to it.
        case kubernetes
        /// Units for one machine.
        case systemd
        /// The commands for every host, for those who start them without a launcher.
        case ssh
    }

    let job: JobConfiguration
    /// The job file as the user named it.
    let file: String
    let options: Options

    /// What a job file does not say.
    public struct Options {
        /// The container image with the programs.
        public var image = "apus:\(ApusVersion.current)"
        /// The folder of the programs where the ranks run; empty leaves them to the search path.
        public var programs = ""

        /// Every default.
        public init() {}
    }

    /// A job that was read from a file.
    ///
    /// - Parameter file: The file's path, as ranks are to find it.
    public init(of job: JobConfiguration, file: String, options: Options = Options()) {
        self.job = job
        self.file = file
        self.options = options
    }

    /// The text for a program.
    ///
    /// - Throws: `ClusterError.badInput` with the key of the job that the program cannot follow.
    public func text(for target: Target) throws(ClusterError) -> String {
        if !job.lab.isEmpty {
            throw .badInput("\(file): lab: ranks in a lab are started by apus launch alone")
        }
        switch target {
        case .slurm: return try slurm()
        case .kubernetes: return try kubernetes()
        case .systemd: return try systemd()
        case .ssh: return try ssh()
        }
    }

    /// A program by its name.
    func program(_ name: String) -> String {
        options.programs.isEmpty ? name : "\(options.programs)/\(name)"
    }

    /// A secret that only the job's processes may read is a must where no launcher hands one over.
    func requireTokenFile(_ target: Target) throws(ClusterError) {
        guard job.tokenFile.isEmpty else { return }
        throw .badInput(
            "\(file): tokenFile is missing: processes that \(target) starts read the job's secret"
                + " from a file that all of them see (umask 077; openssl rand -hex 32 > token)")
    }

    /// A word as a POSIX shell reads it back, plain where it may be.
    static func shellWord(_ word: String) -> String {
        let isPlain =
            !word.isEmpty
            && word.allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || "._-/:=@%+,[]".contains($0))
            }
        return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
    }
}
