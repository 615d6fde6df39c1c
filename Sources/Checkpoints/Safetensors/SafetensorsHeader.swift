import Encoding

/// An element type that a safetensors file may name.
public enum StoredType: String, Sendable, CaseIterable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case float8e4m3 = "F8_E4M3"
    case float8e5m2 = "F8_E5M2"
    case float8e8m0 = "F8_E8M0"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint64 = "U64"
    case uint32 = "U32"
    case uint16 = "U16"
    case uint8 = "U8"
    case boolean = "BOOL"

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .float64, .int64, .uint64: 8
        case .float32, .int32, .uint32: 4
        case .float16, .bfloat16, .int16, .uint16: 2
        case .float8e4m3, .float8e5m2, .float8e8m0, .int8, .uint8, .boolean: 1
        }
    }
}

/// One tensor of a safetensors file.
public struct TensorEntry: Equatable, Sendable {
    /// The name it is stored under.
    public let name: String
    /// The type of its elements.
    public let type: StoredType
    /// Its extents, outermost first.
    public let shape: [Int]
    /// Where its bytes are, counted from the start of the file.
    public let bytes: Range<Int>
}

/// The table at the front of a safetensors file: which tensor lies where.
///
/// Invariants of a parsed header, whatever the bytes were:
/// 1. Every range lies inside the file, and no two overlap.
/// 2. A range is exactly as long as its shape and type say.
/// 3. The ranges fill the data without a gap, so a cut file is noticed before it is used.
public struct SafetensorsHeader: Sendable {
    /// The format's own limit on the header.
    public static let byteLimit = 100_000_000
    /// More extents than any published tensor has.
    static let rankLimit = 8

    /// The tensors in the order of their bytes.
    public let tensors: [TensorEntry]

    /// The header's length, which the first eight bytes of a file give.
    ///
    /// - Returns: The count of JSON bytes that follow.
    static func length(prefix: [UInt8], fileBytes: Int, file: String) throws -> Int {
        guard fileBytes >= 8, prefix.count >= 8 else {
            throw CheckpointError.file(
                file, fact: "\(fileBytes) bytes; a safetensors file has at least 8")
        }
        let length = prefix[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(byteLimit) else {
            throw CheckpointError.file(
                file, fact: "header of \(length) bytes; the format's limit is \(byteLimit)")
        }
        guard Int(length) <= fileBytes - 8 else {
            throw CheckpointError.file(
                file, fact: "header of \(length) bytes in a file of \(fileBytes) bytes")
        }
        return Int(length)
    }

    /// Parses and checks the JSON that follows the length.
    ///
    /// - Parameters:
    ///   - json: The header's bytes.
    ///   - fileBytes: The size of the whole file.
    ///   - file: The file's name, for messages.
    public init(json: [UInt8], fileBytes: Int, file: String) throws {
        let dataStart = 8 + json.count
        var found: [TensorEntry] = []
        var reader = JSONReader(json)
        do {
            try reader.object { name, reader in
                if name == "__metadata__" { return try reader.skip() }
                found.append(
                    try Self.entry(
                        name: name, from: &reader, data: dataStart ..< max(dataStart, fileBytes),
                        file: file))
            }
            try reader.end()
        } catch let fault as JSONError {
            throw CheckpointError.file(file, fact: "header: \(fault)")
        }
        found.sort {
            ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound)
        }
        try Self.checkCover(found, data: dataStart ..< fileBytes, file: file)
        tensors = found
    }

    /// Reads one tensor's description.
    private static func entry(
        name: String, from reader: inout JSONReader, data: Range<Int>, file: String
    ) throws -> TensorEntry {
        func fault(_ fact: String) -> CheckpointError {
            .tensor(file: file, name: name.printable(), fact: fact)
        }
        var type: StoredType?
        var shape: [Int]?
        var offsets: [Int] = []
        try reader.object { key, reader in
            switch key {
            case "dtype":
                let text = try reader.string()
                type = StoredType(rawValue: text)
                if type == nil { throw fault("dtype \(text.printable()) is unknown") }
            case "shape":
                var extents: [Int] = []
                try reader.array { index, reader in
                    guard index < rankLimit else {
                        throw fault("more than \(rankLimit) extents")
                    }
                    extents.append(try reader.integer())
                }
                shape = extents
            case "data_offsets":
                try reader.array { index, reader in
                    guard index < 2 else { throw fault("more than two data_offsets") }
                    offsets.append(try reader.integer())
                }
            default: try reader.skip()
            }
        }
        guard let type else { throw fault("dtype is missing") }
        guard let shape else { throw fault("shape is missing") }
        guard offsets.count == 2 else { throw fault("data_offsets are missing") }
        return TensorEntry(
            name: name, type: type, shape: shape,
            bytes: try range(offsets, shape: shape, type: type, data: data, fault: fault))
    }

    /// Invariants 1 (inside) and 2.
    private static func range(
        _ offsets: [Int], shape: [Int], type: StoredType, data: Range<Int>,
        fault: (String) -> CheckpointError
    ) throws -> Range<Int> {
        let (begin, end) = (offsets[0], offsets[1])
        guard begin >= 0, begin <= end, end <= data.count else {
            throw fault(
                "data_offsets \(begin)..\(end) are outside the file's \(data.count) data bytes")
        }
        var byteCount = type.byteCount
        for extent in shape {
            let (product, overflow) = byteCount.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else {
                throw fault("shape \(shape) has no size that fits 64 bits")
            }
            byteCount = product
        }
        guard byteCount == end - begin else {
            throw fault(
                "shape \(shape) of \(type.rawValue) is \(byteCount) bytes; "
                    + "data_offsets hold \(end - begin)")
        }
        return data.lowerBound + begin ..< data.lowerBound + end
    }

    /// Invariants 1 (no overlap) and 3.
    private static func checkCover(_ sorted: [TensorEntry], data: Range<Int>, file: String) throws {
        var covered = data.lowerBound
        for entry in sorted {
            guard entry.bytes.lowerBound == covered else {
                let fact = entry.bytes.lowerBound < covered ? "overlaps" : "leaves a gap after"
                throw CheckpointError.tensor(
                    file: file, name: entry.name.printable(),
                    fact: "begins at byte \(entry.bytes.lowerBound), which \(fact) the tensor "
                        + "that ends at \(covered)")
            }
            covered = entry.bytes.upperBound
        }
        guard covered == data.upperBound else {
            throw CheckpointError.file(
                file, fact: "tensors end at byte \(covered); the file has \(data.upperBound)")
        }
    }
}
