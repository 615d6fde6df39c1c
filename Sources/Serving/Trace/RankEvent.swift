import Foundation

/// One thing that happened on a rank: a span of its time or, where both ends are one, a moment.
///
/// It holds numbers alone, nothing of a prompt or a text.
struct RankEvent: Hashable, Sendable {
    /// What happened.
    enum Kind: UInt8, CaseIterable, Sendable {
        /// A step, from this rank's signal to the last token; `number` are new tokens.
        case step = 1
        /// Other ranks had not begun the step yet.
        case wait
        /// Tokens travel, or the outputs of experts do; `number` is the exchange's.
        case dispatch, combine
        /// A part of a dispatch or combine in which this rank stood still.
        case exposed
        /// This rank's routed experts compute.
        case experts
        /// The MTP block, and the choice of tokens.
        case draft, sampling
        /// Requests in the batch (`rows`), and those that wait (`number`).
        case queue
        case stepBegan, dispatchBegan, combineBegan
        /// A request came, or ended; `number` is its id.
        case admitted, finished
        /// An epoch begins; `number` is the epoch's.
        case epoch
        /// The job goes on without the peer.
        case lost
        /// A step ended by an error.
        case failed
    }

    var kind: Kind
    /// Nanoseconds of the rank's monotonic clock.
    var began: UInt64
    /// At least `began`.
    var ended: UInt64
    /// The step, counted as all ranks of an epoch count; 0 before the first.
    var step: UInt64 = 0
    /// What `kind` says.
    var number: UInt64 = 0
    /// The other rank: the one whose bytes ended the wait, or the one that is lost.
    var peer: Int?
    /// Rows of the step, or tokens of the exchange.
    var rows = 0
    /// Micro-batches of a step; 0 of one that has not ended, or ended by an error.
    var parts = 0
    /// The error's words; never packed.
    var note: String?

    /// Nanoseconds that it took.
    var duration: UInt64 { ended - began }

    /// Whether this is a step that ended with its tokens.
    var isWholeStep: Bool { kind == .step && parts > 0 }
}

/// Events as they travel: 40 bytes each, big-endian.
extension RankEvent {
    /// Bytes of an event: kind, micro-batches, peer (2), rows (4), step, number, began, ended.
    static let packedBytes = 40
    /// Stands for no peer.
    private static let nobody = UInt16.max

    /// Adds the event to packed ones.
    func pack(into bytes: inout Data) {
        bytes.append(kind.rawValue)
        bytes.append(UInt8(clamping: parts))
        Self.append(peer.map { UInt16(clamping: $0) } ?? Self.nobody, to: &bytes)
        Self.append(UInt32(clamping: rows), to: &bytes)
        for value in [step, number, began, ended] { Self.append(value, to: &bytes) }
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout Data) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// Reads packed events, which anybody may have made.
    ///
    /// - Throws: `TraceError.malformed` with the first thing that no recorder writes.
    static func unpack(_ packed: Data) throws(TraceError) -> [RankEvent] {
        guard packed.count % packedBytes == 0 else {
            throw .malformed("\(packed.count) bytes are no whole events of \(packedBytes) bytes")
        }
        let bytes = [UInt8](packed)
        var events: [RankEvent] = []
        events.reserveCapacity(bytes.count / packedBytes)
        for start in stride(from: 0, to: bytes.count, by: packedBytes) {
            func value(_ offset: Int, _ count: Int) -> UInt64 {
                bytes[start + offset ..< start + offset + count].reduce(0) { $0 << 8 | UInt64($1) }
            }
            guard let kind = Kind(rawValue: bytes[start]) else {
                throw .malformed("an event of kind \(bytes[start]): the highest is 17")
            }
            let peer = UInt16(truncatingIfNeeded: value(2, 2))
            let event = RankEvent(
                kind: kind, began: value(24, 8), ended: value(32, 8), step: value(8, 8),
                number: value(16, 8), peer: peer == nobody ? nil : Int(peer),
                rows: Int(value(4, 4)), parts: Int(bytes[start + 1]))
            guard event.began <= event.ended else {
                throw .malformed("an event that ends at \(event.ended), before \(event.began)")
            }
            events.append(event)
        }
        return events
    }
}
