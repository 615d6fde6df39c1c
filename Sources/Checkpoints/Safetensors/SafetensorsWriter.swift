import Encoding
import Foundation
import Synchronization

/// A tensor of a file to be written.
public struct OutputTensor: Sendable, Hashable {
    /// The name it is stored under.
    public let name: String
    /// The type of its elements.
    public let type: StoredType
    /// Its extents, outermost first.
    public let shape: [Int]

    /// A tensor of this name, type and shape.
    public init(name: String, type: StoredType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// Rows: the outermost extent; a vector is one row.
    public var rows: Int { shape.count > 1 ? shape[0] : 1 }
    /// Values of one row.
    public var columns: Int { rows > 0 ? elementCount / rows : 0 }
    /// Values in all.
    public var elementCount: Int { shape.reduce(1, *) }
    /// Bytes in all.
    public var byteCount: Int { elementCount * type.byteCount }
}

/// Writes one safetensors file, its tensors in any order and in parts, from any thread.
///
/// The file is the one that safetensors' own `save_file` writes for the same tensors: larger types
/// first, then by name, metadata `format: pt`.
public final class SafetensorsWriter: Sendable {
    /// Where the file is.
    public let path: String

    private struct Place {
        var offset: Int
        var byteCount: Int
        var written = 0
    }

    private struct State: Sendable {
        let handle: FileHandle
        var places: [String: Place]
    }

    private let state: Mutex<State>

    /// Creates the file and writes its header.
    ///
    /// - Throws: `CheckpointError.file` if the system refuses.
    public init(path: String, tensors: [OutputTensor]) throws {
        self.path = path
        let order = tensors.sorted {
            let (left, right) = (Self.weight($0.type), Self.weight($1.type))
            return left == right ? $0.name < $1.name : left > right
        }
        var header = #"{"__metadata__":{"format":"pt"}"#
        var places: [String: Place] = [:]
        var offset = 0
        for tensor in order {
            let end = offset + tensor.byteCount
            let name = JSONValue.string(tensor.name).encoded()
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            header += ",\(name):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
            header += "\"data_offsets\":[\(offset),\(end)]}"
            let other = places.updateValue(
                Place(offset: offset, byteCount: tensor.byteCount), forKey: tensor.name)
            precondition(other == nil, "tensor \(tensor.name) is to be written twice")
            offset = end
        }
        header += "}"
        while header.utf8.count % 8 != 0 { header += " " }
        let length = UInt64(header.utf8.count)
        let prefix = (0 ..< 8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) }
        let base = 8 + header.utf8.count
        for name in places.keys { places[name]!.offset += base }
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw CheckpointError.file(path, fact: "cannot be created") }
        state = Mutex(State(handle: handle, places: places))
        try refusing { try handle.write(contentsOf: Data(prefix + Array(header.utf8))) }
    }

    /// The order of types in a file, as safetensors' own enumeration has it.
    private static func weight(_ type: StoredType) -> Int {
        let order: [StoredType] = [
            .boolean, .uint8, .int8, .float8e5m2, .float8e4m3, .float8e8m0, .int16, .uint16,
            .float16, .bfloat16, .int32, .uint32, .float32, .float64, .int64, .uint64,
        ]
        return order.firstIndex(of: type)!
    }

    /// Writes a part of a tensor; every byte is to be written once.
    public func write(_ bytes: [UInt8], to name: String, at offset: Int) throws {
        try state.withLock { state in
            guard var place = state.places[name] else {
                preconditionFailure("tensor \(name) is not in the header of \(path)")
            }
            precondition(
                offset >= 0 && offset + bytes.count <= place.byteCount,
                "bytes \(offset)..<\(offset + bytes.count) of \(name), which has "
                    + "\(place.byteCount)")
            try refusing {
                try state.handle.seek(toOffset: UInt64(place.offset + offset))
                try state.handle.write(contentsOf: bytes)
            }
            place.written += bytes.count
            state.places[name] = place
        }
    }

    /// Closes the file.
    ///
    /// Every tensor must be there.
    public func finish() throws {
        try state.withLock { state in
            for (name, place) in state.places where place.written != place.byteCount {
                preconditionFailure(
                    "\(place.written) of \(place.byteCount) bytes of \(name) were written")
            }
            try refusing { try state.handle.close() }
        }
    }

    private func refusing(_ body: () throws -> Void) throws {
        do { try body() } catch {
            throw CheckpointError.file(path, fact: "cannot be written: \("\(error)".printable())")
        }
    }
}
