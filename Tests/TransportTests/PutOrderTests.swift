import Testing
import Topology

@testable import Transport

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
