/// Flows under way over shared links: who has how much left, at which rate, and who ends next.
///
/// Time is in whole nanoseconds, so that two machines never disagree about an order of events.
/// Rates are max-min fair, and are computed anew when a flow begins or ends or a link changes.
package struct FlowTable: Sendable {
    private struct Flow {
        var links: [Int32]
        /// Bytes.
        var left: Double
        /// Bytes per nanosecond.
        var rate = 0.0
    }

    private var flows: [Flow] = []
    private var free: [Int32] = []
    /// The flows under way, in the order of their beginning.
    private var active: [Int32] = []
    /// Bytes per nanosecond of each link.
    private var capacities: [Double]
    private var shares = FairShares()
    private var isStale = false
    private var now: UInt64
    private let slack: Double
    /// What each link has carried, in bytes.
    package private(set) var carriedBytes: [Double]

    /// - Parameters:
    ///   - bytesPerSecond: The rate of each link, which routes number.
    ///   - now: The time at the beginning, in nanoseconds.
    ///   - slackNanoseconds: Flows that would end so soon after another end with it. It saves most
    ///     of the computing, and no end is early by more.
    package init(bytesPerSecond: [Double], now: UInt64, slackNanoseconds: UInt64 = 1) {
        capacities = bytesPerSecond.map { $0 / 1e9 }
        carriedBytes = Array(repeating: 0, count: bytesPerSecond.count)
        self.now = now
        slack = Double(max(slackNanoseconds, 1))
    }

    /// Whether nothing is under way.
    package var isEmpty: Bool { active.isEmpty }

    /// Begins a flow at the time of the last `advance`; returns its number.
    ///
    /// A flow without links ends at once.
    package mutating func begin(over links: [Int32], bytes: Double) -> Int32 {
        let flow = Flow(links: links, left: links.isEmpty ? 0 : bytes)
        var number = Int32(flows.count)
        if let old = free.popLast() {
            number = old
            flows[Int(old)] = flow
        } else {
            flows.append(flow)
        }
        active.append(number)
        isStale = true
        return number
    }

    /// Ends a flow before its time.
    package mutating func stop(_ number: Int32) {
        active.removeAll { $0 == number }
        free.append(number)
        isStale = true
    }

    /// Changes what a link can carry; 0 stops what takes it.
    package mutating func setRate(of link: Int, bytesPerSecond: Double) {
        capacities[link] = bytesPerSecond / 1e9
        isStale = true
    }

    /// When the next flow ends; nil if none does.
    package mutating func nextEnd() -> UInt64? {
        refresh()
        var least = Double.infinity
        for number in active {
            let flow = flows[Int(number)]
            if flow.left <= 0 { return now }
            if flow.rate > 0 { least = min(least, flow.left / flow.rate) }
        }
        guard least < 9e18 else { return nil }
        return now + max(1, UInt64(least.rounded(.up)))
    }

    /// Moves time, and returns the flows that have ended, in the order in which they began.
    ///
    /// - Precondition: the moment is not after `nextEnd`.
    package mutating func advance(to moment: UInt64) -> [Int32] {
        refresh()
        let passed = Double(moment - now)
        now = moment
        var ended: [Int32] = []
        var kept: [Int32] = []
        for number in active {
            let flow = flows[Int(number)]
            let moved = min(flow.left, flow.rate * passed)
            let left = flow.left - moved
            let isEnd = left <= flow.rate * (slack - 1) + 1e-6
            for link in flow.links { carriedBytes[Int(link)] += isEnd ? flow.left : moved }
            flows[Int(number)].left = left
            if isEnd { ended.append(number) } else { kept.append(number) }
        }
        guard !ended.isEmpty else { return [] }
        active = kept
        free += ended.reversed()
        isStale = true
        return ended
    }

    private mutating func refresh() {
        guard isStale else { return }
        isStale = false
        for number in active { flows[Int(number)].rate = 0 }
        var rates = Array(repeating: 0.0, count: flows.count)
        let (all, moving) = (flows, active.filter { !flows[Int($0)].links.isEmpty })
        shares.compute(
            capacities: capacities, flows: moving, route: { all[Int($0)].links },
            assign: { rates[Int($0)] = $1 })
        for number in moving { flows[Int(number)].rate = rates[Int(number)] }
    }
}
