import Foundation
import Testing

/// A folder of batches as a server leaves it, which goes with its test.
final class TemporaryBatches: Sendable {
    let path = FileManager.default.temporaryDirectory
        .appending(path: "batches-\(UUID().uuidString)").path

    init() throws {
        for name in ["files", "batches"] {
            try FileManager.default.createDirectory(
                atPath: "\(path)/\(name)", withIntermediateDirectories: true)
        }
    }

    deinit {
        do { try FileManager.default.removeItem(atPath: path) } catch {
            Issue.record("\(path) stays: \(error)")
        }
    }

    func write(_ text: String, _ name: String) throws {
        try Data(text.utf8).write(to: URL(filePath: "\(path)/\(name)"))
    }
}
