import Foundation
import Logging
import Synchronization

/// A file with one line per request, cut into a bounded number of files.
///
/// Lines wait in memory and are written by a queue of their own, because a disk may stand still. A
/// file that somebody else moved away, as `logrotate` does, is opened anew.
final class AccessLog: Sendable {
    /// Lines that wait for the disk; further ones are dropped and counted.
    private static let waitingLimit = 10_000
    /// Characters of a path that are kept.
    private static let pathLimit = 256

    private struct State {
        var lines: [String] = []
        var dropped = 0
        var isWriting = false
        var file: File?
        var hasComplained = false
    }

    private struct File {
        let handle: FileHandle
        let number: Int
        var bytes: Int
    }

    private let path: String
    private let byteLimit: Int
    private let fileCount: Int
    private let log: Logger
    private let queue = DispatchQueue(label: "apus.access-log", qos: .utility)
    private let state = Mutex(State())

    /// Opens the file.
    ///
    /// - Throws: `ServingError.configuration` when the file cannot be written.
    init(_ settings: AccessLogSettings, log: Logger) throws {
        path = settings.file
        byteLimit = settings.bytes
        fileCount = settings.files
        self.log = log
        do {
            let file = try Self.open(path)
            state.withLock { $0.file = file }
        } catch { throw Self.unwritable(path, error) }
    }

    /// Opens the file and closes it again.
    ///
    /// - Throws: `ServingError.configuration` when the file cannot be written.
    static func check(_ path: String) throws(ServingError) {
        do { try open(path).handle.close() } catch { throw unwritable(path, error) }
    }

    private static func unwritable(_ path: String, _ error: any Error) -> ServingError {
        .configuration(
            message: "accessLog.file \(path) cannot be written: \(error.localizedDescription)")
    }

    func write(_ line: String) {
        let begins = state.withLock { state in
            guard state.lines.count < Self.waitingLimit else {
                state.dropped += 1
                return false
            }
            state.lines.append(line)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if begins { queue.async { self.flush() } }
    }

    /// Writes what waits, and returns when it is written.
    func close() { queue.sync { flush() } }

    private func flush() {
        var (lines, dropped, file) = state.withLock { state in
            defer {
                state.lines = []
                state.dropped = 0
                state.isWriting = false
            }
            return (state.lines, state.dropped, state.file)
        }
        if dropped > 0 { lines.append("# \(dropped) lines were dropped\n") }
        guard !lines.isEmpty else { return }
        do {
            try write(lines, to: &file)
            state.withLock {
                $0.file = file
                $0.hasComplained = false
            }
        } catch {
            let isNew = state.withLock { state in
                defer { state.hasComplained = true }
                state.file = nil
                return !state.hasComplained
            }
            // Once, until the disk takes lines again: requests are served all the same.
            if isNew { log.warning("the access log \(path) cannot be written: \(error)") }
        }
    }

    private func write(_ lines: [String], to file: inout File?) throws {
        var open: File
        if let file, file.number == Self.number(of: path) {
            open = file
        } else {
            try file?.handle.close()
            open = try Self.open(path)
        }
        var batch = Data()
        func writeBatch() throws {
            try open.handle.write(contentsOf: batch)
            batch.removeAll(keepingCapacity: true)
        }
        for line in lines {
            if open.bytes > 0, open.bytes + line.utf8.count > byteLimit {
                try writeBatch()
                try open.handle.close()
                try rotate()
                open = try Self.open(path)
            }
            batch.append(contentsOf: line.utf8)
            open.bytes += line.utf8.count
        }
        try writeBatch()
        file = open
    }

    /// `access.log` becomes `access.log.1`, that becomes `.2`, and the last one goes.
    private func rotate() throws {
        let files = FileManager.default
        let names = [path] + (1 ..< max(1, fileCount)).map { "\(path).\($0)" }
        if let last = names.last, files.fileExists(atPath: last) {
            try files.removeItem(atPath: last)
        }
        for (older, newer) in zip(names.reversed(), names.reversed().dropFirst())
        where files.fileExists(atPath: newer) {
            try files.moveItem(atPath: newer, toPath: older)
        }
    }

    private static func open(_ path: String) throws -> File {
        let files = FileManager.default
        if !files.fileExists(atPath: path) {
            // Addresses of clients are nobody else's business.
            try Data().write(to: URL(filePath: path))
            try files.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        }
        let handle = try FileHandle(forWritingTo: URL(filePath: path))
        let bytes = try handle.seekToEnd()
        return File(handle: handle, number: number(of: path) ?? 0, bytes: Int(bytes))
    }

    private static func number(of path: String) -> Int? {
        do {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            return (attributes[.systemFileNumber] as? NSNumber)?.intValue
        } catch { return nil }
    }

    /// A word of a line: no space, no control character, not too long.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            guard result.utf8.count < pathLimit else { return result + "..." }
            if scalar.value > 0x20, scalar.value < 0x7F, scalar != "\\" {
                result.unicodeScalars.append(scalar)
            } else {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return result.isEmpty ? "-" : result
    }
}

/// Where the access log is, and how much of it is kept.
public struct AccessLogSettings: Codable, Hashable, Sendable {
    /// The file; empty keeps no log.
    ///
    /// A relative path of a job file begins at that file's folder.
    public var file = ""
    /// Bytes of a file, after which the next one begins.
    package var bytes = 64 << 20
    /// Files that are kept: `FILE`, `FILE.1` and so on.
    package var files = 5

    /// No log.
    init() {}

    /// - Throws: `ServingError.configuration` naming the setting.
    func validate() throws(ServingError) {
        try Setting.check("accessLog.bytes", bytes, 1 << 12, 1 << 40)
        try Setting.check("accessLog.files", files, 1, 1000)
    }
}
