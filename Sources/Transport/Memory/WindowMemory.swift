import CFabric

/// Where the signals and the bytes of one rank's window lie in its region.
///
/// Invariants:
/// 1. A signal's store releases the bytes stored before it; its load acquires them.
/// 2. Every access is checked against the counts here, which never change.
@safe struct WindowMemory: Sendable {
    let region: Region
    let byteCount: Int
    let signalCount: Int
    private let bytesOffset: Int

    /// One signal per cache line: different ranks write neighbouring signals.
    static let signalStride = 64

    init(region: Region, byteCount: Int, signalCount: Int) {
        let offset = Region.roundedToPages(signalCount * Self.signalStride)
        precondition(offset + byteCount <= region.byteCount, "window \(byteCount) in its region")
        self.region = region
        self.byteCount = byteCount
        self.signalCount = signalCount
        bytesOffset = offset
    }

    static func regionByteCount(byteCount: Int, signalCount: Int) -> Int {
        Region.roundedToPages(signalCount * signalStride) + byteCount
    }

    /// The bytes, for a fabric that fills them.
    var bytes: UnsafeMutableRawPointer { unsafe region.base + bytesOffset }

    private func word(_ index: Int) -> UnsafeMutablePointer<UInt64> {
        precondition(index >= 0 && index < signalCount, "signal \(index) of \(signalCount)")
        return unsafe (region.base + index * Self.signalStride)
            .assumingMemoryBound(to: UInt64.self)
    }

    func signal(_ index: Int) -> UInt64 { unsafe fabric_load(word(index)) }

    func setSignal(_ index: Int, _ value: UInt64) { unsafe fabric_store(word(index), value) }

    func check(_ range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount,
            "bytes \(range) of a window of \(byteCount)")
    }

    @inline(__always)
    func withBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (RawSpan) throws(E) -> R
    ) throws(E) -> R {
        check(range)
        let start = unsafe UnsafeRawPointer(bytes + range.lowerBound)
        return try body(unsafe RawSpan(_unsafeStart: start, byteCount: range.count))
    }

    @inline(__always)
    func withMutableBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> R
    ) throws(E) -> R {
        check(range)
        var span = unsafe MutableRawSpan(
            _unsafeStart: bytes + range.lowerBound, byteCount: range.count)
        return try body(&span)
    }
}
