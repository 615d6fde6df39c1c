import Foundation

extension InputFile {
    /// Checks that a file's owner alone may use it, because it holds a secret.
    ///
    /// systemd may hand a credential over by an access list, which shows as bits of the group: the
    /// group may read a file in `CREDENTIALS_DIRECTORY`.
    ///
    /// - Throws: `InputError` whose words follow the path in a sentence.
    public static func checkIsPrivate(
        _ path: String, environment: [String: String]
    ) throws(InputError) {
        let resolved = URL(filePath: path).resolvingSymlinksInPath().path(percentEncoded: false)
        let attributes: [FileAttributeKey: Any]
        do {
            attributes = try FileManager.default.attributesOfItem(atPath: resolved)
        } catch {
            throw InputError("cannot be read: \(error.localizedDescription)")
        }
        guard attributes[.type] as? FileAttributeType == .typeRegular else {
            throw InputError("is not a regular file")
        }
        let credentials = environment["CREDENTIALS_DIRECTORY"] ?? ""
        let isCredential = !credentials.isEmpty && path.hasPrefix(credentials + "/")
        let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0o777
        guard mode & 0o077 & ~(isCredential ? 0o040 : 0) == 0 else {
            let octal = String(mode, radix: 8)
            throw InputError("has mode 0\(octal), so that others may use it: chmod 600 \(path)")
        }
    }
}
