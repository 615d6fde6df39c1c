import FuzzSupport

@testable import Checkpoints

/// Feeds bytes to the readers of a safetensors header and of a checkpoint's index.
///
/// Whatever the bytes: no trap, and a header that is taken keeps its invariants.
private func fuzzHeader(_ bytes: [UInt8]) {
    // The file's size is part of the input: headers lie about it.
    let fileBytes = bytes.count + Int(bytes.last ?? 0)
    if let length = try? SafetensorsHeader.length(prefix: bytes, fileBytes: fileBytes, file: "f") {
        precondition(length >= 0 && length <= fileBytes - 8)
    }
    if let header = try? SafetensorsHeader(json: bytes, fileBytes: fileBytes, file: "f") {
        var end = 8 + bytes.count
        for tensor in header.tensors {
            precondition(tensor.bytes.lowerBound == end && tensor.bytes.upperBound <= fileBytes)
            precondition(
                tensor.shape.reduce(tensor.type.byteCount, *) == tensor.bytes.count)
            end = tensor.bytes.upperBound
        }
        precondition(end == fileBytes)
    }
    if let map = try? CheckpointIndex.parse(bytes, file: "f") {
        precondition(map.values.allSatisfy { !$0.contains("/") })
    }
}

@main enum HeaderFuzz {
    static func main() { FuzzRun.main(fuzzHeader) }
}
