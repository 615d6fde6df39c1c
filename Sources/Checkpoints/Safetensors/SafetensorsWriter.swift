import Encoding
import Synchronization
import Tensors

/// Writes one safetensors file, its tensors in any order and in parts, from any thread.
///
/// The file is the one that safetensors' own `save_file` writes for the same tensors: larger types
/// first, then by name, metadata `format: pt`.
public final class SafetensorsWriter: Sendable {
    /// Where the file is.
    public var path: String { sink.path }

    private struct Place {
        let tensor: OutputTensor
        /// The tensor's first byte in the file.
        let offset: Int
    }

    private let sink: FileSink
    private let places: [String: Place]
    /// Bytes that were written of each tensor.
    private let written = Mutex<[String: Int]>([:])

    /// Creates the file and writes its header.
    ///
    /// - Throws: `CheckpointError.file` if the system refuses.
    public init(path: String, tensors: [OutputTensor]) throws(CheckpointError) {
        let order = tensors.sorted {
            let (left, right) = (Self.weight($0.type), Self.weight($1.type))
            return left == right ? $0.name < $1.name : left > right
        }
        let header = Self.header(order)
        var places: [String: Place] = [:]
        var offset = header.count
        for tensor in order {
            let other = places.updateValue(
                Place(tensor: tensor, offset: offset), forKey: tensor.name)
            precondition(other == nil, "tensor \(tensor.name) is to be written twice")
            offset += tensor.byteCount
        }
        self.places = places
        do { sink = try FileSink(path: path) } catch {
            throw .file(path, fact: "cannot be created: \(error.call): \(error.reason)")
        }
        try refusing { () throws(FileError) in try sink.write(header.span.raw, at: 0) }
    }

    /// The length of the table and the table, up to where the data begins: a multiple of 8.
    private static func header(_ order: [OutputTensor]) -> [UInt8] {
        var table = #"{"__metadata__":{"format":"pt"}"#
        var offset = 0
        for tensor in order {
            let end = offset + tensor.byteCount
            let name = JSONValue.string(tensor.name).encoded()
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            table += ",\(name):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
            table += "\"data_offsets\":[\(offset),\(end)]}"
            offset = end
        }
        table += "}"
        while table.utf8.count % 8 != 0 { table += " " }
        let length = UInt64(table.utf8.count)
        return (0 ..< 8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + Array(table.utf8)
    }

    /// The order of types in a file, as safetensors' own enumeration has it.
    private static func weight(_ type: StoredType) -> Int {
        let order: [StoredType] = [
            .boolean, .uint8, .int8, .float8e5m2, .float8e4m3, .float8e8m0, .int16, .uint16,
            .float16, .bfloat16, .int32, .uint32, .float32, .float64, .int64, .uint64,
        ]
        return order.firstIndex(of: type)!
    }

    /// The tensor of this name, as the header describes it.
    func tensor(_ name: String) -> OutputTensor { place(name).tensor }

    private func place(_ name: String) -> Place {
        guard let place = places[name] else {
            preconditionFailure("tensor \(name) is not in the header of \(path)")
        }
        return place
    }

    /// Writes a part of a tensor; every byte is to be written once.
    ///
    /// - Throws: `CheckpointError.file` if the system refuses: a full disk is an error here, not a
    ///   short file later.
    public func write(
        _ bytes: RawSpan, to name: String, at offset: Int = 0
    ) throws(CheckpointError) {
        let place = place(name)
        precondition(
            offset >= 0 && offset + bytes.byteCount <= place.tensor.byteCount,
            "bytes \(offset)..<\(offset + bytes.byteCount) of \(name), which has "
                + "\(place.tensor.byteCount)")
        try refusing { () throws(FileError) in
            try sink.write(bytes, at: place.offset + offset)
        }
        written.withLock { $0[name, default: 0] += bytes.byteCount }
    }

    /// Ends the file. Every tensor must be there.
    ///
    /// - Parameter synchronizing: Whether to wait until the disk has it.
    public func finish(synchronizing: Bool = false) throws(CheckpointError) {
        let written = written.withLock { $0 }
        for (name, place) in places where written[name, default: 0] != place.tensor.byteCount {
            preconditionFailure(
                "\(written[name, default: 0]) of \(place.tensor.byteCount) bytes of \(name) were "
                    + "written")
        }
        try refusing { () throws(FileError) in
            try synchronizing ? sink.synchronize() : sink.flush()
        }
    }

    private func refusing(
        _ body: () throws(FileError) -> Void
    ) throws(CheckpointError) {
        do { try body() } catch {
            throw .file(path, fact: "cannot be written: \(error.call): \(error.reason)")
        }
    }
}
