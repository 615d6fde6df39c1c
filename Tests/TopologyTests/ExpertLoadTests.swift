import Testing
import Topology

@Suite struct ExpertLoadTests {
    @Test func `what ranks count adds up, and counts half after a half life`() throws {
        var load = ExpertLoad(layerCount: 2, expertCount: 3, now: .seconds(10))
        var counts = ExpertCounts(layerCount: 2, expertCount: 3)
        counts.add([0, 2, 2, 2], layer: 1)
        try load.add(counts, now: .seconds(10))
        try load.add(counts, now: .seconds(10))
        #expect(load.tokens == [[0, 0, 0], [2, 0, 6]])
        load.decay(to: .seconds(10) + ExpertLoad.halfLife)
        #expect(load.tokens == [[0, 0, 0], [1, 0, 3]])
        // Time that goes back changes nothing.
        load.decay(to: .seconds(1))
        #expect(load.tokens[1][2] == 3)
    }

    @Test func `many short steps fade as one long step does`() {
        var counts = ExpertCounts(layerCount: 1, expertCount: 1)
        counts.add([Int32](repeating: 0, count: 1_000_000), layer: 0)
        for steps in [1, 7, 60, 6000] {
            var load = ExpertLoad(layerCount: 1, expertCount: 1, now: .zero)
            try? load.add(counts, now: .zero)
            for step in 1 ... steps {
                load.decay(to: ExpertLoad.halfLife * 2 * step / steps)
            }
            // Each step rounds once, by less than 2^-52.
            #expect(abs(load.tokens[0][0] - 250_000) < 1e-3, "\(steps): \(load.tokens)")
        }
    }

    @Test func `counts of another model are refused, and counts that are not all there`() {
        var load = ExpertLoad(layerCount: 2, expertCount: 3, now: .zero)
        #expect(throws: TopologyError.self) {
            try load.add(ExpertCounts(layerCount: 3, expertCount: 2), now: .zero)
        }
        #expect(ExpertCounts(layerCount: 2, expertCount: 3, values: [1, 2, 3]) == nil)
        #expect(ExpertCounts(layerCount: 0, expertCount: 0, values: []) == nil)
        #expect(ExpertCounts(layerCount: -1, expertCount: -1, values: [1]) == nil)
    }
}
