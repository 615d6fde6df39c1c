import Encoding

/// How much each rank sends to each: a row is a sender, a column is a receiver.
struct TrafficMatrix: Sendable {
    /// What the ranks had sent at one moment.
    struct Sample: Sendable {
        /// By rank.
        var sent: [Int: SentBytes]
        var at: ContinuousClock.Instant

        init(_ statistics: [EngineStatistics], at: ContinuousClock.Instant) {
            sent = Dictionary(statistics.map { ($0.rank, $0.sent) }) { _, last in last }
            self.at = at
        }
    }

    private let ranks: [Int]
    /// Of each rank; empty where none is known.
    private let nodes: [String]
    private let before: Sample
    private let now: Sample

    /// - Parameter nodes: The node of each rank, as far as names are known.
    init(from before: Sample, to now: Sample, nodes: [Int: String]) {
        ranks = now.sent.keys.sorted()
        self.nodes = ranks.map { nodes[$0] ?? "" }
        self.before = before
        self.now = now
    }

    private var seconds: Double { before.at.duration(to: now.at).seconds }

    /// Numbers in place of names, by first appearance: which ranks share a node, and not where.
    private var numberedNodes: [String] {
        var numbers: [String: Int] = [:]
        return nodes.map { node in
            if node.isEmpty { return "" }
            let number = numbers[node] ?? numbers.count
            numbers[node] = number
            return "\(number)"
        }
    }

    /// What `/traffic` says: rates are those between the two samples.
    ///
    /// - Parameter namesNodes: False for a caller who may not know the machines' names.
    func json(namesNodes: Bool) -> JSONValue {
        let (ranks, nodes) = (ranks, nodes)
        let rates = ranks.map { from in ranks.map { rate(from, $0) } }
        func sums(insideNode: Bool) -> JSONValue {
            .array(
                rates.indices.map { from in
                    let to = rates.indices.filter { (nodes[$0] == nodes[from]) == insideNode }
                    return .number(to.reduce(0) { $0 + rates[from][$1] })
                })
        }
        let sent = ranks.map { now.sent[$0] ?? SentBytes() }
        return [
            "seconds": .number((seconds * 1000).rounded() / 1000),
            "ranks": .array(ranks.map { .number($0) }),
            "nodes": .array((namesNodes ? nodes : numberedNodes).map { .string($0) }),
            "bytes_per_second": .array(rates.map { .array($0.map { .number($0) }) }),
            "bytes": .array(
                sent.map { sent in .array(ranks.map { .number(Double(sent.bytes(to: $0))) }) }),
            "inside_node_bytes_per_second": sums(insideNode: true),
            "across_nodes_bytes_per_second": sums(insideNode: false),
            // Also to ranks that are away and have no column.
            "sent_bytes": .array(sent.map { .number(Double($0.toRanks.reduce(0, +))) }),
        ]
    }

    /// Whole bytes a second from one rank to another.
    private func rate(_ sender: Int, _ receiver: Int) -> Double {
        // A rank that was silent then has no rate, and one that began anew had sent nothing.
        guard let new = now.sent[sender], let old = before.sent[sender], seconds > 0 else {
            return 0
        }
        let (late, early) = (new.bytes(to: receiver), old.bytes(to: receiver))
        return (Double(late >= early ? late - early : late) / seconds).rounded()
    }
}
