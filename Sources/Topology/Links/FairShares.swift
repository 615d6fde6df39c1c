/// Max-min fair rates of flows that share links.
///
/// All rates grow together until a link is full. The flows of that link keep their rate, and the
/// others go on growing. So no flow can get more without taking from one that has no more.
///
/// Source: Bertsekas and Gallager, Data Networks, section 6.5.2 (progressive filling).
struct FairShares {
    private var heap = LinkHeap()
    private var residual: [Double] = []
    private var counts: [Int32] = []
    private var offsets: [Int32] = []
    private var members: [Int32] = []

    /// Computes the rates of all flows.
    ///
    /// Costs the sum of the lengths of all routes, and a heap of the links in use.
    ///
    /// - Parameters:
    ///   - capacities: Of every link.
    ///   - flows: The flows, by their numbers.
    ///   - route: The links of a flow.
    ///   - assign: Takes the flow and its rate. A flow without links is not assigned.
    mutating func compute(
        capacities: [Double], flows: [Int32], route: (Int32) -> [Int32],
        assign: (Int32, Double) -> Void
    ) {
        let used = gather(capacities, flows, route)
        heap.removeAll()
        for link in used { heap.push(link, residual[Int(link)] / Double(counts[Int(link)])) }
        var isFixed = Array(repeating: false, count: Int(flows.max() ?? -1) + 1)
        while let (link, share) = heap.pop() {
            let count = counts[Int(link)]
            if count == 0 { continue }
            let now = max(0, residual[Int(link)]) / Double(count)
            // Shares only grow, so a stale entry comes back later.
            if now > share {
                heap.push(link, now)
                continue
            }
            for place in offsets[Int(link)] ..< offsets[Int(link) + 1] {
                let flow = members[Int(place)]
                if isFixed[Int(flow)] { continue }
                isFixed[Int(flow)] = true
                assign(flow, share)
                for other in route(flow) {
                    residual[Int(other)] -= share
                    counts[Int(other)] -= 1
                }
            }
        }
    }

    /// Lists the flows of each link; returns the links that have any.
    private mutating func gather(
        _ capacities: [Double], _ flows: [Int32], _ route: (Int32) -> [Int32]
    ) -> [Int32] {
        residual = capacities
        counts = Array(repeating: 0, count: capacities.count)
        for flow in flows { for link in route(flow) { counts[Int(link)] += 1 } }
        offsets = [0]
        offsets.reserveCapacity(capacities.count + 1)
        for count in counts { offsets.append(offsets[offsets.count - 1] + count) }
        members = Array(repeating: 0, count: Int(offsets[offsets.count - 1]))
        var next = offsets
        for flow in flows {
            for link in route(flow) {
                members[Int(next[Int(link)])] = flow
                next[Int(link)] += 1
            }
        }
        return capacities.indices.filter { counts[$0] > 0 }.map { Int32($0) }
    }
}
