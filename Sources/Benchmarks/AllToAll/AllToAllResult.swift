/// What all ranks measured together, as `--json` prints it.
public struct AllToAllResult: Encodable, Sendable {
    /// Of all dispatches, or of all combines.
    package struct Times: Encodable, Sendable {
        /// Over iterations, of the slowest rank of each.
        package var p50Microseconds: Double, p99Microseconds: Double, leastMicroseconds: Double,
            mostMicroseconds: Double, meanMicroseconds: Double
        /// Bytes of all ranks over the median: as the model sees them, and as they were moved.
        package var logicalGigabytesPerSecond: Double, physicalGigabytesPerSecond: Double
        package var logicalBytes: Int, physicalBytes: Int
        /// What went from node to node: bytes, and rows (tokens, each once per node).
        package var crossingBytes: Int, crossingRows: Int
        /// The most that a node sent, or was sent, over the median: what its network carried.
        package var busiestNodeGigabytesPerSecond: Double
        /// Median microseconds between the first and the last start, and of waiting.
        package var skewMicroseconds: Double, waitMicroseconds: Double
        /// The limit's time over the median.
        package var efficiency: Double

        init(_ halves: [RankMeasurement.Samples], nodes: [Int]) {
            let times = Statistics(halves)
            p50Microseconds = times.p50
            p99Microseconds = times.p99
            leastMicroseconds = times.minimum
            mostMicroseconds = times.maximum
            meanMicroseconds = times.mean
            skewMicroseconds = times.skew
            waitMicroseconds = times.wait
            logicalBytes = halves.flatMap(\.logicalBytes).reduce(0, +)
            physicalBytes = halves.flatMap(\.physicalBytes).reduce(0, +)
            let crossing = Crossing(halves.map(\.physicalBytes), nodes: nodes)
            crossingBytes = crossing.total
            crossingRows = halves.reduce(0) { $0 + $1.crossingRows }
            busiestNodeGigabytesPerSecond =
                times.p50 > 0 ? Double(crossing.busiest) / times.p50 / 1000 : 0
            logicalGigabytesPerSecond = times.p50 > 0 ? Double(logicalBytes) / times.p50 / 1000 : 0
            physicalGigabytesPerSecond =
                times.p50 > 0 ? Double(physicalBytes) / times.p50 / 1000 : 0
            let limit = Double(halves.map(\.limitNanoseconds).max() ?? 0) / 1000
            efficiency = times.p50 > 0 ? limit / times.p50 : 0
        }
    }

    /// What efficiency is measured against.
    public struct Limit: Encodable, Sendable {
        public var kind: String
        public var dispatchMicroseconds: Double, combineMicroseconds: Double
        package var dispatchGigabytesPerSecond: Double, combineGigabytesPerSecond: Double
    }

    /// What another library needed for the same bytes.
    public struct Comparison: Encodable, Sendable {
        /// Its time over ours, dispatch and combine together.
        public var ratio: Double
        public var dispatchMicroseconds: Double, combineMicroseconds: Double
        package var dispatchRatio: Double, combineRatio: Double
        /// Which of its ways was fastest.
        public var method: String

        /// Compares a peer's best with ours.
        public init(
            dispatchMicroseconds: Double, combineMicroseconds: Double, method: String,
            ours: AllToAllResult
        ) {
            self.dispatchMicroseconds = dispatchMicroseconds
            self.combineMicroseconds = combineMicroseconds
            self.method = method
            let sum = ours.dispatch.p50Microseconds + ours.combine.p50Microseconds
            ratio = sum > 0 ? (dispatchMicroseconds + combineMicroseconds) / sum : 0
            dispatchRatio =
                ours.dispatch.p50Microseconds > 0
                ? dispatchMicroseconds / ours.dispatch.p50Microseconds : 0
            combineRatio =
                ours.combine.p50Microseconds > 0
                ? combineMicroseconds / ours.combine.p50Microseconds : 0
        }
    }

    public var wrong: Int
    package var dispatch: Times
    package var combine: Times
    public var limit: Limit
    public var compare: [String: Comparison]?
    /// Equal for equal seeds and ranks.
    public var hash: String
    public var ranks: Int
    /// Per source rank: how bytes get to each rank.
    public var transports: [[String]]
    /// Largest of any rank: reserved for windows and staging, and resident growth while measuring.
    public var windowBytes: Int
    public var residentGrowthBytes: Int
    /// Largest of any rank: the part of its dispatches and combines that it left records in.
    public var recordingShare: Double
    public var rounds: Int?
    /// Straggler, slow link: what most exchanges show.
    package var findings: [String]
    public var options: AllToAllOptions

    /// Combines what the ranks measured.
    package init(_ measurements: [RankMeasurement], options: AllToAllOptions) {
        self.options = options
        ranks = measurements.count
        wrong = measurements.reduce(0) { $0 + $1.wrong }
        let nodes = measurements.first?.nodes ?? []
        dispatch = Times(measurements.map(\.dispatch), nodes: nodes)
        combine = Times(measurements.map(\.combine), nodes: nodes)
        transports = measurements.map(\.paths)
        windowBytes = measurements.map(\.memoryBytes).max() ?? 0
        residentGrowthBytes =
            measurements.map { ($0.residentBytes.last ?? 0) - ($0.residentBytes.first ?? 0) }.max()
            ?? 0
        recordingShare =
            measurements.map { rank in
                let samples = rank.dispatch.samples + rank.combine.samples
                let time = samples.reduce(0) { $0 + $1.nanoseconds }
                return time > 0 ? Double(rank.recordingNanoseconds) / Double(time) : 0
            }.max() ?? 0
        let mixed = measurements.reduce(UInt64(0)) { ($0 &* 0x100_0000_01b3) ^ $1.hash }
        hash = String(mixed, radix: 16)
        let rounds = measurements.map(\.rounds).max() ?? 0
        self.rounds = rounds > 0 ? rounds : nil
        findings = ExchangeDiagnosis.findings(
            of: measurements, isEven: options.pattern == .uniform
        ).map { "\($0)" }
        let crosses = transports.joined().contains { path in
            ["tcp", "ucx", "verbs"].contains { path.hasPrefix($0) }
        }
        let times = [measurements.map(\.dispatch), measurements.map(\.combine)].map {
            Double($0.map(\.limitNanoseconds).max() ?? 0) / 1000
        }
        limit = Limit(
            kind: crosses ? "put of the bytes that cross, copy of the others" : "memory copy",
            dispatchMicroseconds: times[0], combineMicroseconds: times[1],
            dispatchGigabytesPerSecond: times[0] > 0
                ? Double(dispatch.logicalBytes) / times[0] / 1000 : 0,
            combineGigabytesPerSecond: times[1] > 0
                ? Double(combine.logicalBytes) / times[1] / 1000 : 0)
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
