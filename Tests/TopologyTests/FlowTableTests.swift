import Testing

@testable import Topology

/// Rates of flows that share links, against values worked out by hand.
@Suite struct FlowTableTests {
    @Test func `rates are max-min fair`() {
        // Bertsekas and Gallager, figure 6.12's kind: one long flow, short ones on each link.
        var shares = FairShares()
        let routes: [[Int32]] = [[0, 1, 2], [0], [1], [1], [2]]
        var rates = [Double](repeating: 0, count: routes.count)
        shares.compute(
            capacities: [10, 6, 10], flows: [0, 1, 2, 3, 4], route: { routes[Int($0)] },
            assign: { rates[Int($0)] = $1 })
        #expect(rates == [2, 8, 2, 2, 8])
    }

    @Test func `a flow that ends leaves its share to the others`() {
        var table = FlowTable(bytesPerSecond: [1e9], now: 0)
        let short = table.begin(over: [0], bytes: 100)
        let long = table.begin(over: [0], bytes: 300)
        #expect(table.nextEnd() == 200)
        #expect(table.advance(to: 200) == [short])
        // 200 bytes are left, at the whole rate.
        #expect(table.nextEnd() == 400)
        #expect(table.advance(to: 400) == [long])
        #expect(table.isEmpty)
        #expect(table.carriedBytes == [400])
    }

    @Test func `a cut link stops what takes it, and goes on when it is whole`() {
        var table = FlowTable(bytesPerSecond: [1e9, 1e9], now: 0)
        let stopped = table.begin(over: [0, 1], bytes: 100)
        table.setRate(of: 1, bytesPerSecond: 0)
        #expect(table.nextEnd() == nil)
        #expect(table.advance(to: 1000) == [])
        table.setRate(of: 1, bytesPerSecond: 1e9)
        #expect(table.nextEnd() == 1100)
        #expect(table.advance(to: 1100) == [stopped])
    }

    @Test func `ends within the slack come together`() {
        var table = FlowTable(bytesPerSecond: [1e9, 1e9], now: 0, slackNanoseconds: 10)
        let one = table.begin(over: [0], bytes: 100)
        let other = table.begin(over: [1], bytes: 105)
        #expect(table.advance(to: 100) == [one, other])
    }
}
