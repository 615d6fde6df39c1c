internal import CKernels

/// How a row of Float32 travels or rests: the bytes between a tensor and a window, a cache or a
/// checkpoint.
public enum RowCodec: Hashable, Codable, Sendable {
    case float32
    case bfloat16
    /// e4m3 with one Float32 scale per 128 values, the scales after the values.
    ///
    /// With `powerOfTwo` scales, undoing the scale is exact.
    case float8e4m3(powerOfTwo: Bool)

    /// Bytes of one encoded row of `columns` values, a multiple of 4 so that rows stay aligned.
    public func byteCount(columns: Int) -> Int {
        switch self {
        case .float32: columns * 4
        case .bfloat16: (columns * 2 + 3) / 4 * 4
        case .float8e4m3: Self.scaleOffset(columns) + (columns + 127) / 128 * 4
        }
    }

    private static func scaleOffset(_ columns: Int) -> Int { (columns + 3) / 4 * 4 }

    /// Writes a row into `target` from `offset` on.
    ///
    /// The target must be aligned to 4 bytes there.
    public func encode(_ row: Span<Float>, into target: inout MutableRawSpan, at offset: Int = 0) {
        let size = byteCount(columns: row.count)
        precondition(
            offset >= 0 && offset + size <= target.byteCount,
            "\(size) bytes at \(offset) of \(target.byteCount)")
        unsafe target.withUnsafeMutableBytes { bytes in
            unsafe row.withUnsafeBufferPointer { row in
                guard let from = row.baseAddress, let base = bytes.baseAddress else { return }
                unsafe encode(from, row.count, base + offset)
            }
        }
    }

    /// Widens an encoded row of `row.count` values at `offset`.
    public func decode(_ source: RawSpan, at offset: Int = 0, into row: inout MutableSpan<Float>) {
        unsafe withEncoded(source, at: offset, row: &row) { from, row, count in
            switch self {
            case .float32: unsafe memcpyFloats(row, from, count)
            case .bfloat16:
                unsafe ck_bf16_decode(from.assumingMemoryBound(to: UInt16.self), row, count)
            case .float8e4m3:
                unsafe ck_e4m3_decode(
                    from.assumingMemoryBound(to: UInt8.self), Self.scales(from, count), row, count)
            }
        }
    }

    /// row += weight * the encoded row at `offset`.
    public func accumulate(
        _ source: RawSpan, at offset: Int = 0, weight: Float, into row: inout MutableSpan<Float>
    ) {
        unsafe withEncoded(source, at: offset, row: &row) { from, row, count in
            unsafe accumulate(from, weight, row, count)
        }
    }

    func accumulate(
        _ from: UnsafeRawPointer, _ weight: Float, _ row: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        switch self {
        case .float32:
            unsafe ck_f32_accumulate(from.assumingMemoryBound(to: Float.self), weight, row, count)
        case .bfloat16:
            unsafe ck_bf16_accumulate(
                from.assumingMemoryBound(to: UInt16.self), weight, row, count)
        case .float8e4m3:
            unsafe ck_e4m3_accumulate(
                from.assumingMemoryBound(to: UInt8.self), Self.scales(from, count), weight, row,
                count)
        }
    }

    func encode(
        _ row: UnsafePointer<Float>, _ count: Int, _ target: UnsafeMutableRawPointer
    ) {
        switch self {
        case .float32:
            unsafe target.copyMemory(from: row, byteCount: count * 4)
        case .bfloat16:
            unsafe ck_bf16_encode(row, target.assumingMemoryBound(to: UInt16.self), count)
        case .float8e4m3(let powerOfTwo):
            let scales = unsafe target + Self.scaleOffset(count)
            unsafe ck_e4m3_encode(
                row, target.assumingMemoryBound(to: UInt8.self),
                scales.assumingMemoryBound(to: Float.self), count, powerOfTwo)
        }
    }

    private static func scales(_ from: UnsafeRawPointer, _ count: Int) -> UnsafePointer<Float> {
        unsafe (from + scaleOffset(count)).assumingMemoryBound(to: Float.self)
    }

    private func memcpyFloats(
        _ row: UnsafeMutablePointer<Float>, _ from: UnsafeRawPointer, _ count: Int
    ) {
        unsafe UnsafeMutableRawPointer(row).copyMemory(from: from, byteCount: count * 4)
    }

    private func withEncoded(
        _ source: RawSpan, at offset: Int, row: inout MutableSpan<Float>,
        _ body: (UnsafeRawPointer, UnsafeMutablePointer<Float>, Int) -> Void
    ) {
        let size = byteCount(columns: row.count)
        precondition(
            offset >= 0 && offset + size <= source.byteCount,
            "\(size) bytes at \(offset) of \(source.byteCount)")
        unsafe source.withUnsafeBytes { bytes in
            unsafe row.withUnsafeMutableBufferPointer { row in
                guard let from = bytes.baseAddress, let target = row.baseAddress else { return }
                unsafe body(from + offset, target, row.count)
            }
        }
    }
}

extension RowCodec: CustomStringConvertible {
    /// As flags and tables name it.
    public var description: String {
        switch self {
        case .float32: "f32"
        case .bfloat16: "bf16"
        case .float8e4m3(false): "fp8"
        case .float8e4m3(true): "fp8-pow2"
        }
    }

    /// The codec that `description` names so.
    public init?(named name: String) {
        let all: [RowCodec] = [
            .float32, .bfloat16, .float8e4m3(powerOfTwo: false), .float8e4m3(powerOfTwo: true),
        ]
        guard let codec = all.first(where: { $0.description == name }) else { return nil }
        self = codec
    }
}
