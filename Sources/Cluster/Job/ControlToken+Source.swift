import Foundation

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
        // systemd may hand a credential over by an access list, which shows as bits of the group.
        let credentials = environment["CREDENTIALS_DIRECTORY"] ?? ""
        let isCredential = !credentials.isEmpty && path.hasPrefix(credentials + "/")
        try self.init(file: path, othersMay: isCredential ? 0o040 : 0)
    }

    /// Reads the secret from a file that its owner alone can read.
    ///
    /// - Parameter othersMay: Bits of the mode that are allowed beside the owner's.
    init(file path: String, othersMay: Int = 0) throws(ClusterError) {
        let resolved = URL(filePath: path).resolvingSymlinksInPath().path(percentEncoded: false)
        let attributes: [FileAttributeKey: Any]
        do {
            attributes = try FileManager.default.attributesOfItem(atPath: resolved)
        } catch {
            throw .badInput("token file \(path): \(error.localizedDescription)")
        }
        guard attributes[.type] as? FileAttributeType == .typeRegular else {
            throw .badInput("token file \(path) is not a regular file")
        }
        let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0o777
        guard mode & 0o077 & ~othersMay == 0 else {
            let octal = String(mode, radix: 8)
            throw .badInput(
                "token file \(path) has mode 0\(octal), so that others may use it: chmod 600"
                    + " \(path)")
        }
        guard let bytes = FileManager.default.contents(atPath: resolved), bytes.count <= 4096 else {
            throw .badInput("token file \(path) cannot be read, or has more than 4096 bytes")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        try self.init(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
