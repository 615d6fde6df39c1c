import Checkpoints
import Foundation
import Tensors

extension ModelConfiguration {
    /// The largest `config.json` that is read; published ones have 2 kB.
    static let byteLimit = 1_000_000

    /// Reads and checks the `config.json` of a checkpoint folder.
    ///
    /// - Throws: `ModelError` naming the key, its value and the limit.
    public static func load(directory: String) throws -> ModelConfiguration {
        let path = directory + "/config.json"
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch {
            throw CheckpointError.file(path, fact: "\(error.call): \(error.reason)")
        }
        guard file.byteCount <= byteLimit else {
            throw CheckpointError.file(
                path, fact: "\(file.byteCount) bytes; the limit is \(byteLimit)")
        }
        return try parse(Data(file.copyBytes(0 ..< file.byteCount)), file: path)
    }
}
