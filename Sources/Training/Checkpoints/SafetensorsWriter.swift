import Foundation
import Tensors

/// Writes a safetensors file: a header that says where everything lies, then the bytes.
struct SafetensorsWriter {
    /// One tensor to write.
    struct Entry {
        let name: String
        /// `F32`, `BF16`, `F8_E4M3`.
        let type: String
        let shape: [Int]
        let byteCount: Int
        /// Appends exactly `byteCount` bytes.
        let write: (FileSink) throws -> Void
    }

    private var entries: [Entry] = []

    mutating func add(_ entry: Entry) { entries.append(entry) }

    /// A tensor as it is; a vector is stored without its row.
    mutating func add(float32 tensor: Tensor, as name: String, isVector: Bool) {
        add(
            Entry(
                name: name, type: "F32", shape: Self.shape(tensor, isVector),
                byteCount: tensor.count * 4
            ) { try $0.append(tensor) })
    }

    /// A tensor rounded to bf16.
    mutating func add(bfloat16 tensor: Tensor, as name: String, isVector: Bool) {
        add(
            Entry(
                name: name, type: "BF16", shape: Self.shape(tensor, isVector),
                byteCount: tensor.count * 2
            ) { try $0.append(bfloat16: tensor) })
    }

    /// A matrix as e4m3, and its 128x128 scales beside it.
    mutating func add(float8 tensor: Tensor, as name: String) {
        let (bytes, scales) = Quantisation.toFloat8(tensor)
        add(
            Entry(
                name: name, type: "F8_E4M3", shape: [tensor.rows, tensor.columns],
                byteCount: bytes.count
            ) { try $0.append(bytes) })
        let blocks = [(tensor.rows + 127) / 128, (tensor.columns + 127) / 128]
        add(
            Entry(
                name: name + "_scale_inv", type: "F32", shape: blocks, byteCount: scales.count * 4
            ) { try $0.append(scales) })
    }

    /// bf16 patterns of a part of a parameter.
    mutating func add(patterns: [UInt16], as name: String) {
        add(
            Entry(name: name, type: "BF16", shape: [patterns.count], byteCount: patterns.count * 2)
            {
                try $0.append(patterns)
            })
    }

    private static func shape(_ tensor: Tensor, _ isVector: Bool) -> [Int] {
        isVector ? [tensor.count] : [tensor.rows, tensor.columns]
    }

    /// Writes and waits for the disk.
    func write(to path: String, metadata: [String: String] = [:]) throws {
        var header: [String: Any] = [
            "__metadata__": metadata.merging(["format": "pt"]) { a, _ in a }
        ]
        var offset = 0
        for entry in entries {
            header[entry.name] = [
                "dtype": entry.type, "shape": entry.shape,
                "data_offsets": [offset, offset + entry.byteCount],
            ]
            offset += entry.byteCount
        }
        var json = Array(
            try JSONSerialization.data(withJSONObject: header, options: [.sortedKeys]))
        // The data begins on a multiple of 8, as the format asks.
        while !json.count.isMultiple(of: 8) { json.append(UInt8(ascii: " ")) }
        let sink = try FileSink(path: path)
        let size = UInt64(json.count)
        try sink.append((0 ..< 8).map { UInt8(truncatingIfNeeded: size >> (8 * $0)) })
        try sink.append(json)
        for entry in entries { try entry.write(sink) }
        try sink.synchronize()
    }
}
