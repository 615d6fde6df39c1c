import Encoding
import Foundation
import Tensors

/// The files of cached blocks: one folder for all ranks of a node, one below it per origin.
///
/// 1. A file appears whole: it is written under another name and then renamed. What a machine that
///    lost power left of one is found by its digest.
/// 2. A block's name says what is in it, so ranks that write the same block write the same bytes,
///    and none needs to know of the others.
/// 3. Together the files of up to 32 ranks stay below `byteLimit`: a rank checks the folder each
///    time that it has written a 256th of the limit, and removes the files longest unused until an
///    eighth is free.
struct PrefixFolder: Sendable {
    let root: URL
    let byteLimit: Int
    private let blocks: URL

    /// The largest file that may stand in the folder, and the smallest limit of all files.
    static let byteLimits = 1 << 20 ... 1 << 50
    private static let suffix = ".block"

    /// Opens the folder, and makes it if it is not there.
    ///
    /// - Throws: `ServingError.configuration` if it cannot be used, or others may read it.
    init(path: String, byteLimit: Int, origin: Digest) throws(ServingError) {
        try Self.make(path)
        // A listing of a link to a folder has nothing in it.
        root = URL(filePath: path).resolvingSymlinksInPath()
        self.byteLimit = byteLimit
        blocks = root.appending(path: String(origin.text.prefix(32)))
        try Self.make(blocks.path(percentEncoded: false))
    }

    /// Makes a folder that its owner alone may use, unless it is there and is one.
    static func make(_ path: String) throws(ServingError) {
        let files = FileManager.default
        let fault: String
        do {
            try files.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            let place = URL(filePath: path).resolvingSymlinksInPath().path(percentEncoded: false)
            if try !isPrivate(place) {
                fault = "others may use it: chmod 700 \(path)"
            } else if !files.isWritableFile(atPath: place) {
                fault = "the user of this process may not write there"
            } else {
                return
            }
        } catch {
            fault = error.localizedDescription
        }
        throw .configuration(message: "prefix folder \(path): \(fault)")
    }

    /// Whether its owner alone may use a folder, now or in a moment: Foundation sets the mode after
    /// it has made the folder, and another rank of the host may be between the two.
    private static func isPrivate(_ place: String) throws -> Bool {
        let limit = ContinuousClock.now + .seconds(1)
        while true {
            let mode = try FileManager.default.attributesOfItem(atPath: place)[.posixPermissions]
            if ((mode as? NSNumber)?.intValue ?? 0o777) & 0o077 == 0 { return true }
            guard .now < limit else { return false }
            Thread.sleep(forTimeInterval: 0.01)
        }
    }

    private func file(_ key: PrefixKey) -> URL {
        blocks.appending(path: key.digest.text + Self.suffix)
    }

    /// Whether a file of this block is there.
    func contains(_ key: PrefixKey) -> Bool {
        FileManager.default.fileExists(atPath: file(key).path(percentEncoded: false))
    }

    /// What is wrong with a file that is there.
    struct Damage: Error {}

    /// The entries of a block; nil if there is no file of it.
    ///
    /// - Throws: `Damage` for a file that is not whole or of another block. Another error where
    ///   the system reads nothing. A file that fails is removed, so that the block, once it is
    ///   computed, is written anew.
    func read(_ key: PrefixKey, tokens: [Int], entryBytes: Int) throws -> [UInt8]? {
        let file = file(key)
        let path = file.path(percentEncoded: false)
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            return nil
        }
        let expected = BlockFile.byteCount(tokens: tokens.count, entryBytes: entryBytes)
        // A link or a pipe under such a name was not made here.
        guard attributes[.type] as? FileAttributeType == .typeRegular,
            (attributes[.size] as? NSNumber)?.intValue == expected
        else {
            try? FileManager.default.removeItem(at: file)
            throw Damage()
        }
        let bytes: Data
        do {
            let handle = try FileHandle(forReadingFrom: file)
            defer { try? handle.close() }
            bytes = try handle.read(upToCount: expected) ?? Data()
        } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
            // Another rank has just removed it.
            return nil
        } catch {
            if !Self.isForWantOfRoom(error) { try? FileManager.default.removeItem(at: file) }
            throw error
        }
        guard
            let entries = BlockFile.decode(
                Array(bytes), key: key, tokens: tokens, entryBytes: entryBytes)
        else {
            try? FileManager.default.removeItem(at: file)
            throw Damage()
        }
        touch(path)
        return entries
    }

    /// Whether the process lacked descriptors or memory, which is no fault of a file.
    private static func isForWantOfRoom(_ error: any Error) -> Bool {
        let cause = (error as? CocoaError)?.underlying as? POSIXError ?? error as? POSIXError
        return cause.map { [.EMFILE, .ENFILE, .ENOMEM].contains($0.code) } ?? false
    }

    /// Writes a block, unless it is there.
    ///
    /// - Returns: Bytes written.
    func write(_ key: PrefixKey, tokens: [Int], entries: [UInt8]) throws -> Int {
        let file = file(key)
        if contains(key) {
            touch(file.path(percentEncoded: false))
            return 0
        }
        let bytes = BlockFile.encode(key: key, tokens: tokens, entries: entries)
        do {
            try Data(bytes).write(to: file, options: .atomic)
        } catch let error as CocoaError where error.code == .fileNoSuchFile {
            // Somebody removed the folder meanwhile.
            try Self.make(blocks.path(percentEncoded: false))
            try Data(bytes).write(to: file, options: .atomic)
        }
        return bytes.count
    }

    /// The time of change says when a file was last used.
    private func touch(_ path: String) {
        try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: path)
    }

    // MARK: Size

    private struct Entry {
        let file: URL
        let bytes: Int
        let used: Date
    }

    /// Removes the files longest unused if all together have more than seven eighths of the limit.
    ///
    /// - Returns: Bytes of the files that are left; nil if another process is at it.
    /// - Throws: `FileError` where the system gives no lock.
    func prune() throws -> Int? {
        let held: FileLock
        do throws(FileError) {
            held = try FileLock(path: root.appending(path: "lock").path(percentEncoded: false))
        } catch {
            guard error.code == EWOULDBLOCK else { throw error }
            return nil
        }
        defer { withExtendedLifetime(held) {} }
        var entries = entries()
        var total = entries.reduce(0) { $0 + $1.bytes }
        let target = byteLimit - byteLimit / 8
        guard total > target else { return total }
        entries.sort { $0.used < $1.used }
        for entry in entries {
            guard total > target else { break }
            guard (try? FileManager.default.removeItem(at: entry.file)) != nil else { continue }
            total -= entry.bytes
        }
        removeEmptyOrigins()
        return total
    }

    /// Blocks of every origin, and what writers that ended left.
    private func entries() -> [Entry] {
        let keys: Set<URLResourceKey> = [
            .isRegularFileKey, .fileSizeKey, .contentModificationDateKey,
        ]
        let listing = FileManager.default.enumerator(
            at: root, includingPropertiesForKeys: Array(keys))
        var entries: [Entry] = []
        while let file = listing?.nextObject() as? URL {
            guard let values = try? file.resourceValues(forKeys: keys),
                values.isRegularFile == true, isOurs(file)
            else { continue }
            entries.append(
                Entry(
                    file: file, bytes: values.fileSize ?? 0,
                    used: values.contentModificationDate ?? .distantPast))
        }
        return entries
    }

    /// Whether a file is in the folder of an origin: nothing else in the root is removed.
    private func isOurs(_ file: URL) -> Bool {
        let folder = file.deletingLastPathComponent()
        return folder.deletingLastPathComponent().standardizedFileURL.path
            == root.standardizedFileURL.path && Self.isOrigin(folder.lastPathComponent)
    }

    private static func isOrigin(_ name: String) -> Bool {
        name.count == 32 && name.allSatisfy { $0.isHexDigit }
    }

    /// Removes folders of other origins that have been empty for a day: a rank that has just begun
    /// has an empty one, too.
    private func removeEmptyOrigins() {
        let files = FileManager.default
        for name in (try? files.contentsOfDirectory(atPath: root.path(percentEncoded: false))) ?? []
        where Self.isOrigin(name) && name != blocks.lastPathComponent {
            let path = root.appending(path: name).path(percentEncoded: false)
            let changed = try? files.attributesOfItem(atPath: path)[.modificationDate] as? Date
            // Fails for a folder that is not empty, also where a rank has written since.
            if let changed, changed.timeIntervalSinceNow < -86400 {
                EmptyFolder.remove(path)
            }
        }
    }
}
