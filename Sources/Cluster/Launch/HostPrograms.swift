import Foundation

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

    /// Notes that programs which were sent are in use, so that no other host that shares their
    /// folder removes them.
    ///
    /// - Parameter folder: Where programs run; only one that is named by a digest is changed.
    static func noteUse(of folder: URL) {
        let name = folder.lastPathComponent
        guard name.utf8.count == 64, name.allSatisfy(\.isHexDigit) else { return }
        try? FileManager.default.setAttributes(
            [.modificationDate: Date()], ofItemAtPath: folder.path(percentEncoded: false))
    }

    /// Short beside the days that unused programs stay.
    static let useSeconds = 3600.0
}
