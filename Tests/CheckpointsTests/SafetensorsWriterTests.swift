import Foundation
import Tensors
import Testing

@testable import Checkpoints

@Suite struct SafetensorsWriterTests {
    /// A folder of this test's own.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
            .path(percentEncoded: false)

        init() throws {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    @Test func `tensors written in any order lie by type and name`() throws {
        let folder = try Folder()
        let path = folder.path + "/a.safetensors"
        let writer = try SafetensorsWriter(
            path: path,
            tensors: [
                OutputTensor(name: "b", type: .bfloat16, shape: [2, 3]),
                OutputTensor(name: "a", type: .bfloat16, shape: [1]),
                OutputTensor(name: "c", type: .float32, shape: [2, 3]),
            ])
        let values = Tensor(rows: 2, columns: 3, values: [1, 2, 3, 4, 5, 6])
        try writer.write(values, to: "b")
        try writer.write([0x3F80] as [UInt16], to: "a")
        try writer.write(values, to: "c")
        try writer.finish(synchronizing: true)
        let file = try MappedFile(path: path)
        let header = try Checkpoint.readHeader(file)
        #expect(header.tensors.map(\.name) == ["c", "a", "b"])
        let read = header.tensors.map { entry in
            Quantisation.widened(
                file.copyBytes(entry.bytes), as: entry.type == .float32 ? .float32 : .bfloat16)
        }
        #expect(read == [[1, 2, 3, 4, 5, 6], [1], [1, 2, 3, 4, 5, 6]])
    }

    @Test func `a matrix in e4m3 has the bytes and scales of the whole`() throws {
        let folder = try Folder()
        let path = folder.path + "/a.safetensors"
        let values = Tensor(
            rows: 300, columns: 200, values: (0 ..< 60_000).map { Float($0 % 977) - 488 })
        let writer = try SafetensorsWriter(
            path: path, tensors: OutputTensor.float8(name: "w", shape: [300, 200]))
        try writer.write(values, to: "w")
        try writer.finish()
        let (bytes, scales) = Quantisation.toFloat8(values)
        let file = try MappedFile(path: path)
        let places = Dictionary(
            uniqueKeysWithValues: try Checkpoint.readHeader(file).tensors.map { ($0.name, $0) })
        #expect(file.copyBytes(places["w"]!.bytes) == bytes)
        #expect(places["w_scale_inv"]!.shape == [3, 2])
        #expect(
            Quantisation.widened(file.copyBytes(places["w_scale_inv"]!.bytes), as: .float32)
                == scales)
    }

    @Test func `a full disk is an error that names the file`() throws {
        let error = #expect(throws: CheckpointError.self) {
            try SafetensorsWriter(
                path: "/dev/full", tensors: [OutputTensor(name: "a", type: .int8, shape: [1])])
        }
        #expect(
            error?.description
                == "/dev/full: cannot be written: pwrite: No space left on device")
    }

    @Test func `a folder that is missing is an error that names the file`() throws {
        let error = #expect(throws: CheckpointError.self) {
            try SafetensorsWriter(path: "/nowhere/a", tensors: [])
        }
        #expect(
            error?.description
                == "/nowhere/a: cannot be created: open: No such file or directory")
    }
}
