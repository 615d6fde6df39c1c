import Foundation
import Testing
import Topology

@testable import Transport

/// Not inside a child, which would start children of its own.
@Suite(.enabled(if: ChildRoles.role == nil), .serialized)
struct UCXTests {
    @Test func `puts over UCX land in place before their signals`() throws {
        try withChildren("exchange", rankCount: 3, extra: ["APUS_TEST_TRANSPORT": "tcp"]) {
            children in
            for rank in 0 ..< 3 {
                let isDone = children.waits(for: "ROLE DONE", rank: rank)
                let output = children.output(of: rank)
                #expect(isDone, "\(output)")
                #expect(!output.contains("WRONG"))
                #expect(output.contains("to rank \((rank + 1) % 3): ucx:tcp/"), "\(output)")
            }
        }
    }

    @Test func `stores inside a node and UCX between nodes make one fabric`() throws {
        let extra = ["APUS_TEST_NODES": "0,0,1,1"]
        try withChildren("exchange", rankCount: 4, extra: extra) { children in
            for rank in 0 ..< 4 {
                let isDone = children.waits(for: "ROLE DONE", rank: rank)
                #expect(isDone, "\(children.output(of: rank))")
                #expect(!children.output(of: rank).contains("WRONG"))
            }
            #expect(children.output(of: 0).contains("to rank 1: shm"))
            #expect(children.output(of: 0).contains("to rank 2: ucx:"))
        }
    }

    @Test(arguments: [SIGKILL, SIGSTOP])
    func `a killed or stopped rank is named across UCX`(signal: Int32) throws {
        try withChildren("ring", rankCount: 3, extra: ["APUS_TEST_TRANSPORT": "tcp"]) {
            children in
            for rank in 0 ..< 3 { #expect(children.waits(for: "RING RUNS", rank: rank)) }
            children.send(signal, to: 1)
            for rank in [0, 2] {
                let isNamed = children.waits(
                    for: "ROLE FAILED: rank 1 left during", rank: rank, limit: .seconds(4))
                #expect(isNamed, "\(children.output(of: rank))")
            }
        }
    }

    @Test func `a device that is not here is named`() throws {
        let extra = ["APUS_TEST_TRANSPORT": "tcp", "APUS_TEST_DEVICE": "plane9"]
        try withChildren("exchange", rankCount: 2, extra: extra) { children in
            for rank in 0 ..< 2 {
                let isNamed = children.waits(
                    for: "ROLE FAILED: no network device plane9", rank: rank)
                #expect(isNamed, "\(children.output(of: rank))")
            }
        }
    }
}

@Suite struct PutOrderTests {
    private func publication(_ value: UInt64) -> PutOrder.Publication {
        PutOrder.Publication(window: 0, signal: 0, value: value)
    }

    @Test func `a signal waits for every earlier put`() {
        var order = PutOrder()
        var seen: [UInt64] = []
        let isBegun = order.begin(1)
        let isThirdTaken = order.arrive(3, publication(3)) { seen.append($0.value) }
        let isSecondTaken = order.arrive(2, publication(2)) { seen.append($0.value) }
        #expect(isBegun && isSecondTaken && isThirdTaken)
        #expect(seen.isEmpty)
        order.land(1, publication(1)) { seen.append($0.value) }
        #expect(seen == [1, 2, 3])
        #expect(order.publishedThrough == 3)
    }

    @Test func `a put that came before, or is out of reach, is refused`() {
        var order = PutOrder()
        let first = [order.arrive(1, nil) { _ in }, order.arrive(1, nil) { _ in }]
        #expect(first == [true, false])
        let later = [2, 2, PutOrder.reach + 2, 0].map { order.begin($0) }
        #expect(later == [true, false, false, false])
    }

    @Test func `random completion orders publish every signal in order`() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        for _ in 0 ..< 200 {
            var order = PutOrder()
            var seen: [UInt64] = []
            let count = UInt64.random(in: 1 ... 40, using: &random)
            for sequence in (1 ... count).shuffled(using: &random) {
                let isTaken = order.arrive(sequence, publication(sequence)) {
                    seen.append($0.value)
                }
                #expect(isTaken)
            }
            #expect(seen == Array(1 ... count), "seed \(seed)")
        }
    }
}

@Suite struct PutHeaderTests {
    private func sample() -> PutHeader {
        var header = PutHeader(.put, source: 3, key: 0x1234_5678_9abc_def0)
        header.sequence = 7
        header.window = 2
        header.signal = 5
        header.offset = 100
        header.length = 28
        header.value = 99
        return header
    }

    @Test func `a header decodes to what was encoded`() {
        #expect(PutHeader(decoding: sample().encoded()) == sample())
    }

    @Test func `a header of another size, magic or kind is not one`() {
        var bytes = sample().encoded()
        #expect(PutHeader(decoding: Array(bytes.dropLast())) == nil)
        bytes[4] = 9
        #expect(PutHeader(decoding: bytes) == nil)
        bytes[4] = 1
        bytes[0] ^= 1
        #expect(PutHeader(decoding: bytes) == nil)
    }

    @Test func `what lies outside the window is a fault`() {
        let window = WindowSize(byteCount: 128, signalCount: 6)
        #expect(sample().fault(byteCount: 28, window: window) == nil)
        #expect(sample().fault(byteCount: 27, window: window) != nil)
        var far = sample()
        far.offset = 101
        #expect(far.fault(byteCount: 28, window: window) != nil)
        far.offset = .max
        #expect(far.fault(byteCount: 28, window: window) != nil)
        var signal = sample()
        signal.signal = 6
        #expect(signal.fault(byteCount: 28, window: window) != nil)
    }

    @Test func `lanes of an endpoint are named once each`() {
        let text = """
            #               lane[0]:  2:tcp/plane0.0 md[1]  -> md[1]/tcp/sysdev[255] rma_bw#0 am
            #               lane[1]:  4:tcp/plane1.0 md[1]  -> md[1]/tcp/sysdev[255] rma_bw#1
            #                 tag_send: 0..<egr/short>..8184..<rndv>..(inf)
            """
        #expect(EndpointInfo.transports(in: text) == "tcp/plane0,tcp/plane1")
    }
}

/// A seeded generator, so that a failure reruns from its seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
