import Foundation
import Glibc
import Tensors

/// A folder that a run or an export writes to.
enum OutputFolder {
    /// Where a run writes whose file names no folder: beside the folders of `apus launch`, in the
    /// user's state folder (XDG Base Directory Specification 0.8).
    static func path(ofRun name: String) -> String {
        let variables = ProcessInfo.processInfo.environment
        let state =
            variables["XDG_STATE_HOME"].map { URL(filePath: $0) }
            ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".local/state")
        return state.appending(path: "apus/training/\(name)").path(percentEncoded: false)
    }

    /// Makes a run's folder and keeps other runs out of it for as long as the lock lives.
    static func take(_ path: String) throws -> FileLock {
        try make(path, key: "output")
        do {
            return try FileLock(path: path + "/lock")
        } catch {
            guard error.code == EWOULDBLOCK else { throw error }
            throw TrainingError.job(
                "output", fact: "\(path) is another run's that is under way: wait for it or end it")
        }
    }

    /// Makes it and those above it.
    ///
    /// - Throws: `TrainingError.job`, which names what is in the way.
    static func make(_ path: String, key: String) throws {
        let files = FileManager.default
        do {
            try files.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            var found = path
            while found.count > 1, !files.fileExists(atPath: found) {
                found = NSString(string: found).deletingLastPathComponent
            }
            let kind = try? files.attributesOfItem(atPath: found)[.type] as? FileAttributeType
            throw TrainingError.job(
                key,
                fact: "\(path) cannot be made: \(found) is "
                    + (kind == .typeDirectory ? "a folder that cannot be written" : "no folder"))
        }
    }
}
