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
        let columns = ranks
        func row(_ value: (Int) -> JSONValue) -> JSONValue { .array(columns.map(value)) }
        func rate(_ sender: Int, _ read: (SentBytes) -> UInt64) -> JSONValue {
            // A rank that was silent then has no rate, and one that began anew had sent nothing.
            guard let new = now.sent[sender], let old = before.sent[sender], seconds > 0 else {
                return 0
            }
            let (late, early) = (read(new), read(old))
            let grown = late >= early ? late - early : late
            return .number((Double(grown) / seconds).rounded())
        }
        // All that a sender sent, also to ranks that are away and have no column.
        func total(_ sender: Int, _ read: (SentBytes) -> UInt64) -> JSONValue {
            .number(Double(now.sent[sender].map(read) ?? 0))
        }
        return [
            "seconds": .number((seconds * 1000).rounded() / 1000),
            "ranks": row { .number($0) },
            "nodes": .array((namesNodes ? nodes : numberedNodes).map { .string($0) }),
            "bytes_per_second": row { sender in row { to in rate(sender) { $0.bytes(to: to) } } },
            "bytes": row { sender in
                row { to in total(sender) { $0.bytes(to: to) } }
            },
            "inside_node_bytes_per_second": row { rate($0, \.insideNode) },
            "across_nodes_bytes_per_second": row { rate($0, \.acrossNodes) },
            "inside_node_bytes": row { total($0, \.insideNode) },
            "across_nodes_bytes": row { total($0, \.acrossNodes) },
        ]
    }
}
