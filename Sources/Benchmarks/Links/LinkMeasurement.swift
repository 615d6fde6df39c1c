import Encoding
public import Topology
public import Transport

/// What one pair of ranks reaches.
public struct LinkFigures: Codable, Hashable, Sendable {
    /// The lower rank of the pair, which sends first.
    public var from: Int
    /// The other.
    public var to: Int
    /// How bytes travel, as `Path` prints it.
    public var path: String
    /// Half the round trip of 8 bytes with their signal: the median, in microseconds.
    public var latencyMicroseconds: Double
    /// The same for a token of 7168 bytes.
    public var tokenLatencyMicroseconds: Double
    /// One way, messages of 1 MiB.
    public var bytesPerSecond: Double
}

/// Measures latency and bandwidth of pairs of ranks over windows, as the data path uses them.
public final class LinkMeasurement: Sendable {
    let fabric: any Fabric
    let window: Window
    private let limit: Duration

    /// One FP8 token of DeepSeek-V3: hidden 7168.
    public static let tokenBytes = 7168
    static let messageBytes = 1 << 20
    /// Messages in flight; enough to cover a millisecond of 4 Gbit/s.
    static let depth = 8

    private enum Signal {
        static let ping = 0
        static let data = 1
        static let taken = 2
        static let count = 3
        static let perRank = 4
    }

    /// Makes the window. Collective.
    ///
    /// - Parameter limit: Time for each wait.
    public init(fabric: any Fabric, limit: Duration = .seconds(120)) throws(TransportError) {
        self.fabric = fabric
        self.limit = limit
        let byteCount = Self.messageBytes * Self.depth
        window = try fabric.makeWindow(
            name: "link", byteCount: byteCount, signalCount: Signal.perRank * fabric.rankCount,
            stagingByteCount: byteCount, deadline: fabric.deadline(limit, "link set-up"))
    }

    /// Measures one pair while the others wait. Collective.
    ///
    /// - Parameters:
    ///   - time: How long to send for the bandwidth.
    ///   - round: Grows from call to call by at least 1, the same on all ranks.
    /// - Returns: The figures on the lower rank of the pair; nil on the others.
    public func measure(
        _ pair: (Rank, Rank), time: Duration, round: Int
    ) throws(TransportError) -> LinkFigures? {
        try fabric.barrier(deadline: deadline)
        let (first, second) = pair
        var figures: LinkFigures?
        if fabric.rank == first {
            var session = Session(measurement: self, other: second, round: round)
            figures = LinkFigures(
                from: first.rawValue, to: second.rawValue, path: "",
                latencyMicroseconds: try session.latency(bytes: 8),
                tokenLatencyMicroseconds: try session.latency(bytes: Self.tokenBytes),
                bytesPerSecond: try session.send(for: time))
            figures?.path = fabric.path(to: second).description
        } else if fabric.rank == second {
            var session = Session(measurement: self, other: first, round: round)
            _ = try session.latency(bytes: 8)
            _ = try session.latency(bytes: Self.tokenBytes)
            try session.receive()
        }
        try window.flush(deadline: deadline)
        try fabric.barrier(deadline: deadline)
        return figures
    }

    /// Measures raw verbs between a pair while the others wait. Collective.
    ///
    /// Parameters and result as those of `VerbsMeasurement.measure`.
    public func measureVerbs(
        _ pair: (Rank, Rank), time: Duration, round: Int
    ) throws(TransportError) -> VerbsFigures? {
        try VerbsMeasurement(fabric: fabric, window: window, deadline: deadline)
            .measure(pair, time: time, round: round)
    }

    private var deadline: Deadline { fabric.deadline(limit, "link measurement") }

    /// One rank's side of one pair's measurement.
    private struct Session {
        let measurement: LinkMeasurement
        let other: Rank
        /// Signals only grow, so each session counts from a base of its own.
        var sequence: UInt64

        init(measurement: LinkMeasurement, other: Rank, round: Int) {
            self.measurement = measurement
            self.other = other
            sequence = UInt64(round) << 32
        }

        private var window: Window { measurement.window }
        private var clock: FabricClock { measurement.fabric.clock }
        private var own: Rank { measurement.fabric.rank }
        private func mine(_ signal: Int) -> Int { own.rawValue * Signal.perRank + signal }
        private func theirs(_ signal: Int) -> Int { other.rawValue * Signal.perRank + signal }

        private func hear(_ signal: Int, _ value: UInt64) throws(TransportError) {
            try window.wait(
                signal: theirs(signal), atLeast: value, from: other,
                deadline: measurement.deadline)
        }

        private static let warmUp = 20
        private static let rounds = 20 ... 1000

        /// Ping-pong; the first rank says how often, so that a slow link does not take minutes.
        mutating func latency(bytes: Int) throws(TransportError) -> Double {
            let isFirst = own < other
            var times: [UInt64] = []
            for _ in 0 ..< Self.warmUp { times.append(try pingPong(bytes)) }
            let fitting = Int(500_000_000 / max(times.reduce(0, +) / UInt64(Self.warmUp), 1))
            var count = min(max(fitting, Self.rounds.lowerBound), Self.rounds.upperBound)
            if isFirst {
                try window.signal(
                    mine(Signal.count), of: other, value: sequence + UInt64(count))
            } else {
                try hear(Signal.count, sequence + 1)
                count = Int(window.signalValue(theirs(Signal.count)) - sequence)
            }
            times.removeAll()
            for _ in 0 ..< count { times.append(try pingPong(bytes)) }
            times.sort()
            return Double(times[times.count / 2]) / 2000
        }

        /// One round trip as this side sees it, in nanoseconds.
        private mutating func pingPong(_ bytes: Int) throws(TransportError) -> UInt64 {
            sequence += 1
            let begin = clock.nanoseconds
            if own > other { try hear(Signal.ping, sequence) }
            try window.put(
                0 ..< bytes, to: other, at: 0, signal: mine(Signal.ping), value: sequence)
            if own < other { try hear(Signal.ping, sequence) }
            let time = clock.nanoseconds - begin
            try window.flush(deadline: measurement.deadline)
            return time
        }

        /// Streams messages for about `time`, and returns bytes per second until the last is taken.
        mutating func send(for time: Duration) throws(TransportError) -> Double {
            // The first stretch touches the memory; the second says how long the third takes.
            _ = try stream(count: 16)
            let trial = try stream(count: 16)
            let wanted = time.seconds * trial
            let count = min(max(Int(wanted) / LinkMeasurement.messageBytes, 16), 1 << 20)
            return try stream(count: count)
        }

        private mutating func stream(count: Int) throws(TransportError) -> Double {
            let base = sequence
            try window.signal(mine(Signal.count), of: other, value: base + UInt64(count))
            let begin = clock.nanoseconds
            for index in 0 ..< count {
                if index >= LinkMeasurement.depth {
                    try hear(Signal.taken, base + UInt64(index - LinkMeasurement.depth + 1))
                }
                sequence += 1
                let slot = index % LinkMeasurement.depth * LinkMeasurement.messageBytes
                try window.put(
                    slot ..< slot + LinkMeasurement.messageBytes, to: other, at: slot,
                    signal: mine(Signal.data), value: sequence)
            }
            try hear(Signal.taken, sequence)
            let seconds = Double(clock.nanoseconds - begin) / 1e9
            return Double(count * LinkMeasurement.messageBytes) / seconds
        }

        /// Takes what `send` streams: two trials, then the measured stretch.
        mutating func receive() throws(TransportError) {
            for _ in 0 ..< 3 {
                try hear(Signal.count, sequence + 1)
                let end = window.signalValue(theirs(Signal.count))
                while sequence < end {
                    sequence += 1
                    try hear(Signal.data, sequence)
                    try window.signal(mine(Signal.taken), of: other, value: sequence)
                }
            }
        }
    }
}
