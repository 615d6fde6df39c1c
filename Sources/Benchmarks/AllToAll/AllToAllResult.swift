/// What all ranks measured together, as `--json` prints it.
public struct AllToAllResult: Encodable, Sendable {
    /// One half of the exchange.
    public struct Half: Encodable, Sendable {
        /// Over iterations, of the slowest rank of each.
        public var p50_us: Double, p99_us: Double, min_us: Double, max_us: Double, avg_us: Double
        /// Bytes of all ranks over the median: as the model sees them, and as they were moved.
        public var logical_gbps: Double, physical_gbps: Double
        public var logical_bytes: Int, physical_bytes: Int
        /// What went from node to node: bytes, and rows (tokens, each once per node).
        public var crossing_bytes: Int, crossing_rows: Int
        /// The most that a node sent, or was sent, over the median: what its network carried.
        public var busiest_node_gbps: Double
        /// Median microseconds between the first and the last start, and of waiting.
        public var skew_us: Double, wait_us: Double
        /// The limit's time over the median.
        public var efficiency: Double

        init(_ halves: [RankMeasurement.Half], nodes: [Int]) {
            let times = Statistics(halves)
            p50_us = times.p50
            p99_us = times.p99
            min_us = times.minimum
            max_us = times.maximum
            avg_us = times.mean
            skew_us = times.skew
            wait_us = times.wait
            logical_bytes = halves.flatMap(\.logicalBytes).reduce(0, +)
            physical_bytes = halves.flatMap(\.physicalBytes).reduce(0, +)
            let crossing = Crossing(halves.map(\.physicalBytes), nodes: nodes)
            crossing_bytes = crossing.total
            crossing_rows = halves.reduce(0) { $0 + $1.crossingRows }
            busiest_node_gbps = times.p50 > 0 ? Double(crossing.busiest) / times.p50 / 1000 : 0
            logical_gbps = times.p50 > 0 ? Double(logical_bytes) / times.p50 / 1000 : 0
            physical_gbps = times.p50 > 0 ? Double(physical_bytes) / times.p50 / 1000 : 0
            let limit = Double(halves.map(\.limitNanoseconds).max() ?? 0) / 1000
            efficiency = times.p50 > 0 ? limit / times.p50 : 0
        }
    }

    /// What efficiency is measured against.
    public struct Limit: Encodable, Sendable {
        public var kind: String
        public var dispatch_us: Double, combine_us: Double
        public var dispatch_gbps: Double, combine_gbps: Double
    }

    /// What another library needed for the same bytes.
    public struct Comparison: Encodable, Sendable {
        /// Its time over ours, dispatch and combine together.
        public var ratio: Double
        public var dispatch_us: Double, combine_us: Double
        public var dispatch_ratio: Double, combine_ratio: Double
        /// Which of its ways was fastest.
        public var method: String

        /// Compares a peer's best with ours.
        public init(dispatch_us: Double, combine_us: Double, method: String, ours: AllToAllResult) {
            self.dispatch_us = dispatch_us
            self.combine_us = combine_us
            self.method = method
            let sum = ours.dispatch.p50_us + ours.combine.p50_us
            ratio = sum > 0 ? (dispatch_us + combine_us) / sum : 0
            dispatch_ratio = ours.dispatch.p50_us > 0 ? dispatch_us / ours.dispatch.p50_us : 0
            combine_ratio = ours.combine.p50_us > 0 ? combine_us / ours.combine.p50_us : 0
        }
    }

    public var wrong: Int
    public var dispatch: Half
    public var combine: Half
    public var limit: Limit
    public var compare: [String: Comparison]?
    /// Equal for equal seeds and ranks.
    public var hash: String
    public var ranks: Int
    /// Per source rank: how bytes get to each rank.
    public var transports: [[String]]
    /// Largest of any rank: reserved for windows and staging, and resident growth while measuring.
    public var window_bytes: Int
    public var resident_growth_bytes: Int
    /// Largest of any rank: the part of its dispatches and combines that it left records in.
    public var recording_share: Double
    public var rounds: Int?
    public var options: AllToAllOptions

    /// Combines what the ranks measured.
    public init(_ measurements: [RankMeasurement], options: AllToAllOptions) {
        self.options = options
        ranks = measurements.count
        wrong = measurements.reduce(0) { $0 + $1.wrong }
        let nodes = measurements.first?.nodes ?? []
        dispatch = Half(measurements.map(\.dispatch), nodes: nodes)
        combine = Half(measurements.map(\.combine), nodes: nodes)
        transports = measurements.map(\.paths)
        window_bytes = measurements.map(\.memoryBytes).max() ?? 0
        resident_growth_bytes =
            measurements.map { ($0.residentBytes.last ?? 0) - ($0.residentBytes.first ?? 0) }.max()
            ?? 0
        recording_share =
            measurements.map { rank in
                let samples = rank.dispatch.samples + rank.combine.samples
                let time = samples.reduce(0) { $0 + $1.nanoseconds }
                return time > 0 ? Double(rank.recordingNanoseconds) / Double(time) : 0
            }.max() ?? 0
        let mixed = measurements.reduce(UInt64(0)) { ($0 &* 0x100_0000_01b3) ^ $1.hash }
        hash = String(mixed, radix: 16)
        let rounds = measurements.map(\.rounds).max() ?? 0
        self.rounds = rounds > 0 ? rounds : nil
        let crosses = transports.joined().contains { path in
            ["tcp", "ucx", "verbs"].contains { path.hasPrefix($0) }
        }
        let times = [measurements.map(\.dispatch), measurements.map(\.combine)].map {
            Double($0.map(\.limitNanoseconds).max() ?? 0) / 1000
        }
        limit = Limit(
            kind: crosses ? "put of the bytes that cross, copy of the others" : "memory copy",
            dispatch_us: times[0], combine_us: times[1],
            dispatch_gbps: times[0] > 0 ? Double(dispatch.logical_bytes) / times[0] / 1000 : 0,
            combine_gbps: times[1] > 0 ? Double(combine.logical_bytes) / times[1] / 1000 : 0)
    }
}

/// What goes from node to node.
struct Crossing {
    /// Of all nodes, and the most that one of them sends or is sent.
    private(set) var total = 0, busiest = 0

    /// - Parameters:
    ///   - bytes: By source rank, then by destination.
    ///   - nodes: The node of each rank.
    init(_ bytes: [[Int]], nodes: [Int]) {
        var sent = [Int](repeating: 0, count: (nodes.max() ?? 0) + 1)
        var received = sent
        for (source, row) in bytes.enumerated() {
            for (rank, count) in row.enumerated() where nodes[source] != nodes[rank] {
                total += count
                sent[nodes[source]] += count
                received[nodes[rank]] += count
            }
        }
        busiest = max(sent.max() ?? 0, received.max() ?? 0)
    }
}

/// Bytes that each rank owes each rank: the rows of a comparison, and of the heat map.
public struct TrafficMatrix: Sendable {
    /// By source, then by destination.
    public let bytes: [[Int]]

    /// Takes the rows of all ranks.
    public init(_ bytes: [[Int]]) { self.bytes = bytes }

    /// The largest entry.
    public var largest: Int { bytes.joined().max() ?? 0 }
}
