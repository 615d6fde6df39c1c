import Foundation

/// A folder that a run or an export writes to.
enum OutputFolder {
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
