import Topology

/// A put as a core posts it: staged bytes into a rank's window, then a signal.
///
/// Safe because the staging memory at `source` stays mapped while its window is registered, and
/// unchanged until `flush`.
@safe struct Put: @unchecked Sendable {
    /// The receiver.
    let rank: Rank
    /// The bytes; nil where there are none.
    let source: UnsafeRawPointer?
    let byteCount: Int
    let window: Int
    /// Where in the receiver's window.
    let offset: Int
    /// nil sets none: a later signal to the same rank publishes the bytes.
    let signal: Int?
    /// What the signal becomes.
    let value: UInt64

    /// The signal as a header has it.
    var headerSignal: UInt32 { signal.map { UInt32($0) } ?? PutHeader.noSignal }

    /// A part of the put, as a put of its own; only the last part carries the signal.
    func part(_ range: Range<Int>) -> Put {
        let isLast = range.upperBound == byteCount
        return unsafe Put(
            rank: rank, source: source.map { unsafe $0 + range.lowerBound },
            byteCount: range.count, window: window, offset: offset + range.lowerBound,
            signal: isLast ? signal : nil, value: isLast ? value : 0)
    }
}
