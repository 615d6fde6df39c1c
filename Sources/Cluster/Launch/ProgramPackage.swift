import Encoding
import Foundation

/// The programs for hosts of one architecture, as they are sent: one file, or two of a build whose
/// programs are not one file.
struct ProgramPackage: Sendable {
    /// As `uname -m` names it.
    let architecture: String
    /// The file of `apus`, then that of `apus-worker` where that is another.
    let files: [URL]
    /// Bytes of each file.
    let sizes: [Int]
    /// SHA-256 of the files one after another, 64 hexadecimal digits.
    let digest: String
    /// Whether `apus-worker` is the launcher's own.
    let isOwn: Bool

    /// Bytes of all files.
    var byteCount: Int { sizes.reduce(0, +) }

    /// The architecture of this program.
    static var ownArchitecture: String {
        #if arch(x86_64)
            "x86_64"
        #elseif arch(arm64)
            "aarch64"
        #else
            "unknown"
        #endif
    }

    /// Finds the programs for an architecture: `apus-ARCHITECTURE` in the folder, else the folder's
    /// own programs for the launcher's architecture.
    ///
    /// - Returns: Nil where there is no file for it.
    /// - Throws: `ClusterError.badInput` with the file that cannot be read.
    static func find(
        _ architecture: String, in folder: URL
    ) throws(ClusterError) -> ProgramPackage? {
        // A host says it, and it becomes part of a path.
        guard architecture.allSatisfy({ $0.isLetter || $0.isNumber || "_-.".contains($0) }) else {
            return nil
        }
        let packed = folder.appending(path: "apus-\(architecture)")
        if FileManager.default.fileExists(atPath: packed.path(percentEncoded: false)) {
            return try ProgramPackage(architecture, [packed], isOwn: false)
        }
        guard architecture == ownArchitecture else { return nil }
        let names = ["apus", "apus-worker"]
        let files = names.map { folder.appending(path: $0).resolvingSymlinksInPath() }
        let isOne = files[0] == files[1]
        return try ProgramPackage(architecture, isOne ? [files[0]] : files, isOwn: true)
    }

    private init(_ architecture: String, _ files: [URL], isOwn: Bool) throws(ClusterError) {
        self.architecture = architecture
        self.files = files
        self.isOwn = isOwn
        var content: [UInt8] = []
        var sizes: [Int] = []
        for file in files {
            do {
                let bytes = try Data(contentsOf: file, options: .mappedIfSafe)
                content.append(contentsOf: bytes)
                sizes.append(bytes.count)
            } catch {
                throw .badInput(
                    "\(file.path(percentEncoded: false)): \(error.localizedDescription)")
            }
        }
        self.sizes = sizes
        digest = Digest(of: content).text
    }

    /// What `HostScript` reads first.
    ///
    /// - Parameter sends: Whether the bytes follow where the host asks for them.
    func order(sends: Bool) -> String {
        let names = files.count == 1 ? "apus" : "apus apus-worker"
        return "\(sends ? "send" : "check") \(digest) \(byteCount) \(sizes[0]) \(names)\n"
    }

    /// Reads the files one after another, from a byte of the whole to the end.
    ///
    /// - Parameter take: Takes a piece; false ends the reading.
    /// - Throws: What Foundation says of a file that cannot be read.
    func read(from offset: Int, _ take: (Data) -> Bool) throws {
        var skipped = offset
        for (file, size) in zip(files, sizes) {
            guard skipped < size else {
                skipped -= size
                continue
            }
            let handle = try FileHandle(forReadingFrom: file)
            defer { try? handle.close() }
            try handle.seek(toOffset: UInt64(skipped))
            skipped = 0
            while let piece = try handle.read(upToCount: Self.pieceBytes), !piece.isEmpty {
                guard take(piece) else { return }
            }
        }
    }

    /// Small beside a second of any network, so that progress is seen.
    private static let pieceBytes = 256 << 10
}
