import Foundation
import Topology

extension ControlToken {
    /// The secret of a job, for a process that joins it: `APUS_TOKEN`, or the file that
    /// `APUS_TOKEN_FILE` or the job names.
    ///
    /// - Throws: `ClusterError.badInput` when there is none, or when others may read the file.
    public init(for job: JobConfiguration) throws(ClusterError) {
        try self.init(for: job, environment: ProcessInfo.processInfo.environment)
    }

    init(for job: JobConfiguration, environment: [String: String]) throws(ClusterError) {
        if let text = environment["APUS_TOKEN"] {
            try self.init(text.trimmingCharacters(in: .whitespacesAndNewlines))
            return
        }
        let named = environment["APUS_TOKEN_FILE"] ?? ""
        let path = named.isEmpty ? job.tokenFile : named
        guard !path.isEmpty else {
            throw .badInput(
                "APUS_TOKEN is not set: the secret of the job. Make one that every rank can read"
                    + " (umask 077; openssl rand -hex 32 > token), and name it by tokenFile in the"
                    + " job or by APUS_TOKEN_FILE")
        }
        try self.init(file: path, environment)
    }

    /// Reads the secret from a file that its owner alone can read.
    private init(file path: String, _ environment: [String: String]) throws(ClusterError) {
        do throws(InputError) {
            try InputFile.checkIsPrivate(path, environment: environment)
        } catch {
            throw .badInput("token file \(path) \(error)")
        }
        guard let bytes = FileManager.default.contents(atPath: path), bytes.count <= 4096 else {
            throw .badInput("token file \(path) cannot be read, or has more than 4096 bytes")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        try self.init(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
