import Foundation
import Testing
import Topology
import Transport

@testable import Serving

/// What a rank keeps of its time, and how it travels.
@Suite struct RecorderTests {
    @Test func `the ring keeps the last thousand events and counts those before`() {
        let recorder = RankRecorder()
        for number in 0 ..< 2500 { recorder.mark(.admitted, number: UInt64(number)) }
        let (events, older) = recorder.last
        #expect(older == 1500)
        #expect(events.map(\.number) == (1500 ..< 2500).map { UInt64($0) })
    }

    @Test func `the ring keeps a wait that is long, and no other`() {
        let recorder = RankRecorder()
        let limit = RankRecorder.longWait
        recorder.add(RankEvent(kind: .wait, began: 10, ended: 9 + limit))
        recorder.add(RankEvent(kind: .wait, began: 10, ended: 10 + limit))
        #expect(recorder.last.events.map(\.duration) == [limit])
    }

    @Test func `what ends a step is kept with the step and the rank that it names`() throws {
        let recorder = RankRecorder()
        recorder.begin(step: 7, rows: 3)
        recorder.noteFailure(
            TransportError.deadline(Rank(rawValue: 2), phase: "dispatch", limit: .seconds(60)))
        let last = try #require(recorder.last.events.last)
        #expect(last.kind == .failed && last.step == 7 && last.peer == 2)
        #expect(last.words.contains("step 7 failed by rank 2: rank 2 sent nothing"))
    }

    @Test func `peers of exchanges have the numbers of the job`() {
        let recorder = RankRecorder()
        recorder.enter([Rank(rawValue: 4), Rank(rawValue: 6)])
        let event = RankEvent(kind: .dispatch, began: 1, ended: 2)
        recorder.add(event, place: Rank(rawValue: 1))
        recorder.add(event, place: nil)
        #expect(recorder.last.events.map(\.peer) == [6, nil])
    }

    @Test func `a record travels in parts, is cut at its limit, and ends with its last`() throws {
        let recorder = RankRecorder()
        let limit = RankRecorder.partEvents + 10
        recorder.record(seconds: 60, limit: limit)
        for number in 0 ..< limit + 5 { recorder.mark(.sampling, number: UInt64(number)) }
        var events: [RankEvent] = []
        var parts = 0
        repeat {
            let part = recorder.part(from: events.count)
            #expect(part.count == limit && part.cut == 5)
            events += try part.events(after: events.count, limit: limit)
            parts += 1
        } while events.count < limit && parts < 5
        #expect(parts == 2)
        #expect(events.map(\.number) == (0 ..< limit).map { UInt64($0) })
        #expect(recorder.part(from: 0).count == 0)
    }

    @Test func `a record holds no more than its limits, whatever is asked`() {
        let recorder = RankRecorder()
        recorder.record(seconds: .max, limit: .max)
        for _ in 0 ..< RankRecorder.mostEvents + 1 { recorder.mark(.sampling) }
        #expect(recorder.part(from: 0).count == RankRecorder.mostEvents)
        #expect(recorder.part(from: -1).count == 0)
        recorder.record(seconds: -1, limit: -1)
        recorder.mark(.sampling)
        #expect(recorder.part(from: 0).count == 0)
    }

    private static let event = RankEvent(
        kind: .dispatch, began: 5, ended: .max, step: 1 << 40, number: 3, peer: 65_534,
        rows: Int(UInt32.max), parts: 2)

    @Test func `a packed event is read as it was, and bytes that are none are refused`() throws {
        var packed = Data()
        Self.event.pack(into: &packed)
        #expect(packed.count == RankEvent.packedBytes)
        #expect(try RankEvent.unpack(packed) == [Self.event])
        #expect(throws: TraceError.self) { try RankEvent.unpack(packed.dropLast()) }
        for kind in [UInt8(0), 18, 255] {
            packed[0] = kind
            #expect(throws: TraceError.malformed("an event of kind \(kind): the highest is 17")) {
                try RankEvent.unpack(packed)
            }
        }
        var backwards = Data()
        RankEvent(kind: .step, began: 5, ended: 4).pack(into: &backwards)
        #expect(throws: TraceError.self) { try RankEvent.unpack(backwards) }
    }

    @Test(arguments: [
        (1, 1, 0), (0, -1, 0), (0, 11, 0), (0, 0, 0), (0, 1, -1), (0, 5, 0), (-1, 1, 0), (0, 2, 0),
    ])
    func `a part that no rank sends is refused`(first: Int, count: Int, cut: Int) {
        var packed = Data()
        Self.event.pack(into: &packed)
        // One event where none is left or two are, or none where five are.
        if count == 5 { packed = Data() }
        let part = RecordPart(first: first, count: count, cut: cut, packed: packed)
        #expect(throws: TraceError.self) { try part.events(after: 0, limit: 10) }
    }

    @Test func `spans are joined and cut as sets of moments are`() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0 ... .max, using: &random)
        var numbers = Numbers(state: seed)
        for _ in 0 ..< 200 {
            func some() -> [Range<Int64>] {
                (0 ..< 6).map { _ in
                    let begin = Int64(numbers.next() % 40)
                    return begin ..< begin + Int64(numbers.next() % 9)
                }
            }
            let (these, others) = (some(), some())
            let moments = Set(these.flatMap { Array($0) })
                .subtracting(others.flatMap { Array($0) })
            let left = TimeSpans(these).without(TimeSpans(others))
            #expect(left.spans.flatMap { Array($0) } == moments.sorted(), "seed \(seed)")
            #expect(left.total == Int64(moments.count), "seed \(seed)")
        }
    }
}

/// Numbers that follow from a seed: Knuth's linear congruence, its upper half.
struct Numbers {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
