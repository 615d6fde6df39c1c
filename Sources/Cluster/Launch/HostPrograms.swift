/// The programs of a host to which the launcher sends its own, as its digest showed them.
package struct HostPrograms: Codable, Equatable, Sendable {
    /// As `uname -m` names it there.
    package var architecture: String
    /// SHA-256 of the programs, 64 hexadecimal digits.
    package var digest: String
    /// Bytes of all programs.
    package var byteCount: Int
    /// Bytes that the host does not have; 0 once it has them.
    package var missingBytes: Int
    /// The folder of the programs there; empty while bytes are missing.
    package var folder: String
    /// Whether `apus-worker` there is the launcher's own file.
    package var isOwn: Bool

    /// The folder, or where it will be.
    var place: String { folder.isEmpty ? "~/.cache/apus/programs/\(digest)" : folder }
}
