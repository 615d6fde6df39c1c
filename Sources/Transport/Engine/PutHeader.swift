/// What comes before the bytes of a put between nodes: 64 bytes, little-endian.
///
/// Any process that can open a connection can send a header, so no field is trusted: the key says
/// that the sender was at the join, and every number is checked against what this rank knows.
struct PutHeader: Equatable {
    enum Kind: UInt8 {
        /// Bytes for a window, then a signal.
        case put = 1
        /// The sender lives.
        case heartbeat = 2
        /// The sender leaves, and waits to hear that all it sent has arrived. The value is a
        /// `SuspectWord`.
        case goodbye = 3
        /// All that was sent before a goodbye has arrived.
        case goodbyeAcknowledgement = 4
    }

    static let byteCount = 64
    static let magic: UInt32 = 0x4d53_5041  // "APSM", little-endian

    var kind: Kind
    var source: UInt32
    /// The receiver's key, which it gave out at the join.
    var key: UInt64
    /// Counts the puts of one rank to another, from 1.
    var sequence: UInt64 = 0
    var window: UInt32 = 0
    /// `noSignal` sets none.
    var signal: UInt32 = Self.noSignal
    var offset: UInt64 = 0
    var length: UInt64 = 0
    var value: UInt64 = 0

    static let noSignal = UInt32.max

    init(_ kind: Kind, source: UInt32, key: UInt64) {
        self.kind = kind
        self.source = source
        self.key = key
    }

    /// Decodes the fields; nil unless the size, the magic and the kind are a put header's.
    init?(decoding bytes: RawSpan) {
        guard bytes.byteCount == Self.byteCount else { return nil }
        guard Self.load(bytes, 0, UInt32.self) == Self.magic else { return nil }
        guard let kind = Kind(rawValue: Self.load(bytes, 4, UInt8.self)) else { return nil }
        self.kind = kind
        source = Self.load(bytes, 8, UInt32.self)
        window = Self.load(bytes, 12, UInt32.self)
        key = Self.load(bytes, 16, UInt64.self)
        sequence = Self.load(bytes, 24, UInt64.self)
        offset = Self.load(bytes, 32, UInt64.self)
        length = Self.load(bytes, 40, UInt64.self)
        value = Self.load(bytes, 48, UInt64.self)
        signal = Self.load(bytes, 56, UInt32.self)
    }

    private static func load<T: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: RawSpan, _ offset: Int, _ type: T.Type
    ) -> T {
        T(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// Writes all 64 bytes.
    func encode(into bytes: inout MutableRawSpan) {
        bytes.storeBytes(of: Self.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
        bytes.storeBytes(of: UInt32(kind.rawValue).littleEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: source.littleEndian, toByteOffset: 8, as: UInt32.self)
        bytes.storeBytes(of: window.littleEndian, toByteOffset: 12, as: UInt32.self)
        bytes.storeBytes(of: key.littleEndian, toByteOffset: 16, as: UInt64.self)
        bytes.storeBytes(of: sequence.littleEndian, toByteOffset: 24, as: UInt64.self)
        bytes.storeBytes(of: offset.littleEndian, toByteOffset: 32, as: UInt64.self)
        bytes.storeBytes(of: length.littleEndian, toByteOffset: 40, as: UInt64.self)
        bytes.storeBytes(of: value.littleEndian, toByteOffset: 48, as: UInt64.self)
        bytes.storeBytes(of: signal.littleEndian, toByteOffset: 56, as: UInt32.self)
        bytes.storeBytes(of: 0, toByteOffset: 60, as: UInt32.self)
    }

    /// Decodes bytes in an array, as a harness has them.
    init?(decoding bytes: [UInt8]) { self.init(decoding: unsafe bytes.span.bytes) }

    /// The 64 bytes in an array.
    func encoded() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        encode(into: &raw)
        return bytes
    }

    /// The signal that a put sets; nil if it sets none.
    var publication: PutOrder.Publication? {
        signal == Self.noSignal
            ? nil : PutOrder.Publication(window: window, signal: signal, value: value)
    }

    /// What is wrong with a put of `byteCount` bytes into a window of these counts; nil if nothing.
    func fault(byteCount: Int, window: WindowSize) -> String? {
        guard length == UInt64(byteCount) else {
            return "a length of \(length) with \(byteCount) bytes"
        }
        let room = UInt64(window.byteCount)
        guard offset <= room, length <= room - offset else {
            return "\(length) bytes at \(offset) of a window of \(room)"
        }
        guard signal == Self.noSignal || Int(signal) < window.signalCount else {
            return "signal \(signal) of \(window.signalCount)"
        }
        return nil
    }
}
