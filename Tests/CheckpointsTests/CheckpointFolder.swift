import Foundation
import Tensors

@testable import Checkpoints

/// A folder with one shard of zeros, which goes away with the test.
final class CheckpointFolder {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        .path(percentEncoded: false)

    init(_ tensors: [OutputTensor] = [], bytes: [String: [UInt8]] = [:]) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard !tensors.isEmpty else { return }
        let writer = try SafetensorsWriter(path: path + "/model.safetensors", tensors: tensors)
        for tensor in tensors {
            let values =
                bytes[tensor.name] ?? [UInt8](repeating: 0, count: tensor.byteCount)
            try writer.write(values.span.raw, to: tensor.name)
        }
        try writer.finish()
    }

    /// Adds a file of one byte.
    func add(_ file: String) {
        _ = FileManager.default.createFile(atPath: path + "/" + file, contents: Data([0]))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
