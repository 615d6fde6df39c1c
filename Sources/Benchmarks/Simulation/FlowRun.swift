import Topology

/// Moves planned flows over the links until all have ended.
///
/// Flows that share no link, and none with what the others share, do not touch each other: each
/// such part runs alone, and its links and flows get small numbers of their own.
struct FlowRun {
    /// When each rank had everything, and who sent what came last.
    struct Outcome {
        /// In nanoseconds; 0 for a rank that got nothing.
        var ends: [UInt64]
        var last: [Int?]
        /// By link.
        var carriedBytes: [Double]
    }

    private(set) var outcome: Outcome
    private let links: LinkMap
    private let begins: [UInt64]

    /// The share of a part's least time within which ends are taken together: without it a part
    /// of many unlike flows would compute all rates once for each.
    static let slack = 0.001

    init(_ links: LinkMap, _ flows: [PlannedFlow], begins: [UInt64]) {
        self.links = links
        self.begins = begins
        outcome = Outcome(
            ends: Array(repeating: 0, count: begins.count),
            last: Array(repeating: nil, count: begins.count),
            carriedBytes: Array(repeating: 0, count: links.links.count))
        for part in Self.parts(flows, linkCount: links.links.count) { run(part) }
    }

    /// Flows that touch each other, part by part, in the order of their first flow.
    private static func parts(_ flows: [PlannedFlow], linkCount: Int) -> [[PlannedFlow]] {
        var parent = Array(0 ..< linkCount)
        func root(_ link: Int) -> Int {
            var link = link
            while parent[link] != link {
                parent[link] = parent[parent[link]]
                link = parent[link]
            }
            return link
        }
        for flow in flows {
            guard let first = flow.route.links.first else { continue }
            let one = root(Int(first))
            for other in flow.route.links.dropFirst() { parent[root(Int(other))] = one }
        }
        var places: [Int: Int] = [:]
        var parts: [[PlannedFlow]] = []
        for flow in flows {
            let key = flow.route.links.first.map { root(Int($0)) } ?? -1
            if let place = places[key] {
                parts[place].append(flow)
            } else {
                places[key] = parts.count
                parts.append([flow])
            }
        }
        return parts
    }

    private mutating func run(_ part: [PlannedFlow]) {
        var numbers: [Int32: Int32] = [:]
        var used: [Int] = []
        var load: [Double] = []
        let routes = part.map { flow in
            flow.route.links.map { link in
                let number = numbers[link] ?? Int32(used.count)
                if number == Int32(used.count) {
                    numbers[link] = number
                    used.append(Int(link))
                    load.append(0)
                }
                load[Int(number)] += flow.bytes
                return number
            }
        }
        let rates = used.map { links.links[$0].bytesPerSecond }
        let least = zip(load, rates).map { $0 / $1 * 1e9 }.max() ?? 0
        // In the order of their begin; equal ones in that of ranks.
        let order = part.indices.sorted {
            (begins[part[$0].source], $0) < (begins[part[$1].source], $1)
        }
        let start = order.first.map { begins[part[$0].source] } ?? 0
        var table = FlowTable(
            bytesPerSecond: rates, now: start,
            slackNanoseconds: UInt64((least * Self.slack).rounded()))
        var flows: [Int32: Int] = [:]
        var next = 0
        while next < order.count || !table.isEmpty {
            let begin = next < order.count ? begins[part[order[next]].source] : .max
            let moment = min(begin, table.nextEnd() ?? .max)
            precondition(moment < .max, "flows that never end")
            for ended in table.advance(to: moment) {
                if let index = flows.removeValue(forKey: ended) { end(part[index], at: moment) }
            }
            while next < order.count, begins[part[order[next]].source] <= moment {
                let index = order[next]
                flows[table.begin(over: routes[index], bytes: part[index].bytes)] = index
                next += 1
            }
        }
        for (number, link) in used.enumerated() {
            outcome.carriedBytes[link] += table.carriedBytes[number]
        }
    }

    private mutating func end(_ flow: PlannedFlow, at moment: UInt64) {
        let arrival = moment + flow.route.latencyNanoseconds
        guard arrival > outcome.ends[flow.target] else { return }
        outcome.ends[flow.target] = arrival
        outcome.last[flow.target] = flow.source
    }
}
