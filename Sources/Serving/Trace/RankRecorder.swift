import Collectives
import Foundation
import Synchronization
public import Topology
import Transport

/// What a rank did lately: its flight recorder, always on, and the record of a trace while one is
/// taken.
///
/// Any thread may add events. One costs a lock and a store.
///
/// 1. The ring holds at most `kept` events, a record at most its limit; what came after is counted.
public final class RankRecorder: Sendable {
    /// Events that the ring keeps: some seconds of a small model, some steps of a large one.
    static let kept = 1000
    /// Events of a trace on one rank: 4 MB as they travel.
    package static let mostEvents = 100_000
    /// The longest trace: a minute is enough to see what repeats, and bounds what it costs.
    package static let longestSeconds = 60
    /// Events of a record beside its limit: a step that has not ended, and its wait.
    static let openEvents = 2
    /// Events of one answer: 640 KB of the 16 MB that a control frame may have.
    static let partEvents = 12_000
    /// A wait for other ranks from which the ring keeps it: 250 ms, in nanoseconds.
    static let longWait: UInt64 = 250_000_000

    private struct Record {
        let window: ClosedRange<UInt64>
        let limit: Int
        var events: [RankEvent] = []
        var cut = 0
        /// Before this time nothing was cut; nil where nothing was at all.
        var cutAt: UInt64?
        /// Once its first part was taken.
        var isClosed = false
    }

    private struct State {
        /// A ring once it is full; `next` is the oldest place then.
        var ring: [RankEvent] = []
        var next = 0
        /// Events that the ring has seen.
        var seen = 0
        var record: Record?
        var step: UInt64 = 0
        /// The step that has not ended, and whether it waits for other ranks.
        var open: RankEvent?
        /// The last event that the thread of the steps noted.
        var latest: RankEvent?
        var isWaiting = false
        /// Ranks as the job numbers them, in the order of the fabric; empty where both are one.
        var members: [Rank] = []
        var sent = SentBytes()

        /// A rank of the fabric, as the job numbers it.
        func number(of place: Int) -> Int {
            members.indices.contains(place) ? members[place].rawValue : place
        }
    }

    private let state = Mutex(State())

    private let clock: FabricClock

    /// - Parameter clock: The rank's: that of its fabric.
    init(clock: FabricClock = .system) {
        self.clock = clock
        state.withLock { $0.ring.reserveCapacity(Self.kept) }
    }

    /// The machine's clock, in nanoseconds.
    static var now: UInt64 { FabricClock.system.nanoseconds }

    /// The rank's clock, in nanoseconds.
    var now: UInt64 { clock.nanoseconds }

    /// Names the ranks of the fabric that is used from now on, as the job numbers them.
    public func enter(_ members: [Rank]) { state.withLock { $0.members = members } }

    /// Notes that the job goes on without a rank.
    public func noteLoss(of rank: Rank, reason: String) {
        let now = self.now
        add(RankEvent(kind: .lost, began: now, ended: now, peer: rank.rawValue, note: reason))
    }

    /// Notes what ended a step.
    func noteFailure(_ error: any Error) {
        let now = self.now
        let rank = (error as? TransportError)?.rank?.rawValue
        add(RankEvent(kind: .failed, began: now, ended: now, peer: rank, note: "\(error)"))
    }

    /// Notes that a step begins: later events belong to it.
    func begin(step: UInt64, rows: Int) {
        let now = self.now
        state.withLock { state in
            state.step = step
            state.open = RankEvent(kind: .step, began: now, ended: now, step: step, rows: rows)
            state.isWaiting = true
        }
        mark(.stepBegan, rows: rows)
    }

    /// Notes a moment: now.
    func mark(_ kind: RankEvent.Kind, number: UInt64 = 0, rows: Int = 0) {
        let now = self.now
        add(RankEvent(kind: kind, began: now, ended: now, number: number, rows: rows))
    }

    /// Notes a span that ends now.
    func span(_ kind: RankEvent.Kind, since began: UInt64) {
        add(RankEvent(kind: kind, began: began, ended: max(began, now)))
    }

    /// Notes an event with a peer that the fabric numbers.
    func add(_ event: RankEvent, place: Rank?) {
        var event = event
        event.peer = place.map { place in
            state.withLock { $0.number(of: place.rawValue) }
        }
        add(event)
    }

    /// Counts what a step sent to the ranks of the fabric.
    func count(_ traffic: [RankTraffic]) {
        state.withLock { state in
            for (place, one) in traffic.enumerated() {
                state.sent.add(one, to: state.number(of: place))
            }
        }
    }

    /// What the rank has sent.
    var sent: SentBytes { state.withLock { $0.sent } }

    /// Notes an event of the step under way.
    func add(_ event: RankEvent) {
        state.withLock { state in
            var event = event
            event.step = state.step
            if event.kind == .failed { Self.fail(event, &state) }
            if Self.isKept(event) { Self.keep(event, in: &state) }
            if Self.isTraced(event) { Self.record(event, in: &state) }
            switch event.kind {
            case .wait: state.isWaiting = false
            case .step, .failed: (state.open, state.isWaiting) = (nil, false)
            default: break
            }
            // A loss is noted by another thread, while a step may wait for the lost rank.
            if event.kind != .lost { state.latest = event }
        }
    }

    /// Records the step that an error ends, and what it waited for: a rank whose step hangs until
    /// its deadline was not idle.
    private static func fail(_ failure: RankEvent, _ state: inout State) {
        guard var open = state.open else { return }
        open.ended = max(open.began, failure.ended)
        record(open, in: &state)
        if state.isWaiting {
            open.kind = .wait
        } else if failure.peer != nil {
            // Since it noted something last, it stood still for the rank that the error names.
            (open.kind, open.number) = (.exposed, state.latest?.number ?? 0)
            open.began = min(max(open.began, state.latest?.ended ?? 0), open.ended)
        } else {
            return
        }
        open.peer = failure.peer
        record(open, in: &state)
    }

    /// Whether a trace shows an event: what begins is shown as a span once it ends.
    private static func isTraced(_ event: RankEvent) -> Bool {
        switch event.kind {
        case .stepBegan, .dispatchBegan, .combineBegan: false
        default: true
        }
    }

    private static func record(_ event: RankEvent, in state: inout State) {
        guard let window = state.record?.window, let limit = state.record?.limit,
            state.record?.isClosed == false, event.ended >= window.lowerBound,
            event.began <= window.upperBound
        else { return }
        if state.record?.events.count ?? 0 < limit {
            state.record?.events.append(event)
            return
        }
        state.record?.cut += 1
        // Of the step that is cut, nothing counts.
        guard state.record?.cutAt == nil else { return }
        state.record?.cutAt = min(event.began, state.open?.began ?? event.began)
    }

    /// Whether the ring keeps an event: begins and ends, and waits that are long.
    private static func isKept(_ event: RankEvent) -> Bool {
        switch event.kind {
        case .exposed, .experts, .draft, .sampling, .queue: false
        case .wait: event.duration >= longWait
        default: true
        }
    }

    private static func keep(_ event: RankEvent, in state: inout State) {
        state.seen += 1
        if state.ring.count < kept {
            state.ring.append(event)
        } else {
            state.ring[state.next] = event
            state.next = (state.next + 1) % kept
        }
    }

    /// The last events, oldest first, and how many came before them.
    var last: (events: [RankEvent], older: Int) {
        state.withLock { state in
            (
                Array(state.ring[state.next...] + state.ring[..<state.next]),
                state.seen - state.ring.count
            )
        }
    }

    // MARK: Traces

    /// Whether a trace is taken now, so that what only traces show is worth reading the clock.
    var isRecording: Bool {
        state.withLock { $0.record.map { $0.window.contains(now) } ?? false }
    }

    /// Records from now on, in place of what was recorded before.
    ///
    /// The rank stops by itself, and forgets what nobody takes when the next trace begins.
    func record(seconds: Int, limit: Int) {
        let now = self.now
        let seconds = UInt64(min(max(seconds, 0), Self.longestSeconds))
        let limit = min(max(limit, 0), Self.mostEvents)
        state.withLock {
            $0.record = Record(window: now ... now + seconds * 1_000_000_000, limit: limit)
        }
    }

    /// The events of the record, which is ended.
    var takenRecord: [RankEvent] {
        state.withLock { state in
            defer { state.record = nil }
            return state.record?.events ?? []
        }
    }

    /// Events of the record from a place on, packed; the first part closes the record, the last one
    /// ends it.
    func part(from first: Int) -> RecordPart {
        let (events, empty) = state.withLock { state -> (ArraySlice<RankEvent>, RecordPart) in
            if first == 0 { Self.close(&state, at: now) }
            guard let record = state.record, (0 ... record.events.count).contains(first) else {
                return ([], RecordPart(first: first, count: 0, cut: 0, packed: Data()))
            }
            let events = record.events[first...].prefix(Self.partEvents)
            if events.endIndex == record.events.count { state.record = nil }
            return (
                events,
                RecordPart(
                    first: first, count: record.events.count, cut: record.cut,
                    cutAt: record.cutAt, packed: Data())
            )
        }
        // The engine waits for no packing.
        var part = empty
        part.packed.reserveCapacity(events.count * RankEvent.packedBytes)
        for event in events { event.pack(into: &part.packed) }
        return part
    }

    /// Lets nothing more into the record than the step that has not ended, and its wait: a rank
    /// that hangs is not idle.
    private static func close(_ state: inout State, at now: UInt64) {
        guard let window = state.record?.window, state.record?.isClosed == false else { return }
        state.record?.isClosed = true
        guard var open = state.open, open.began <= window.upperBound else { return }
        open.ended = max(open.began, window.upperBound, now)
        state.record?.events.append(open)
        guard state.isWaiting else { return }
        open.kind = .wait
        state.record?.events.append(open)
    }
}

/// A part of what a rank recorded.
struct RecordPart: Codable, Hashable, Sendable {
    /// The place of its first event.
    var first: Int
    /// Events of the whole record.
    var count: Int
    /// Events that the record had no room for.
    var cut: Int
    /// When that began, on the rank's clock; nil where all had room.
    var cutAt: UInt64?
    /// As `RankEvent.pack` writes them.
    var packed: Data

    /// The events, which follow `taken` others.
    ///
    /// - Throws: `TraceError.malformed` where a record of at most `limit` events has no such part.
    func events(after taken: Int, limit: Int) throws(TraceError) -> [RankEvent] {
        guard first == taken, cut >= 0, (taken ... max(taken, limit)).contains(count) else {
            throw .malformed(
                "a part at \(first) of \(count) events, \(cut) cut: \(taken) came before, and the"
                    + " limit is \(limit)")
        }
        let events = try RankEvent.unpack(packed)
        guard events.count == min(RankRecorder.partEvents, count - taken) else {
            throw .malformed("\(events.count) events in a part of \(count - taken)")
        }
        return events
    }
}
