import Glibc
public import Topology

/// What the RDMA operations themselves reach between two ranks, without signals and records.
public struct VerbsFigures: Codable, Hashable, Sendable {
    /// Half a round trip of writes of 8 bytes, each side polling its memory: the median, in
    /// microseconds. What `ib_write_lat` measures.
    public var writeMicroseconds: Double
    /// A read of 8 bytes until its completion, the median. What `ib_read_lat` measures.
    public var readMicroseconds: Double
    /// One way, messages of 1 MiB, until all completed.
    public var writeBytesPerSecond: Double
    /// The same by reads.
    public var readBytesPerSecond: Double
}

/// Measures raw verbs between pairs of ranks, over a window that all of them made.
public struct VerbsMeasurement {
    private let fabric: any Fabric
    private let window: Window
    private let deadline: Deadline

    fileprivate static let messageBytes = 1 << 20
    fileprivate static let depth = 8

    /// - Parameters:
    ///   - window: Made with staging, both of `depth` messages or more.
    ///   - deadline: Of every wait.
    public init(fabric: any Fabric, window: Window, deadline: Deadline) {
        self.fabric = fabric
        self.window = window
        self.deadline = deadline
    }

    /// Measures one pair while the others wait. Collective.
    ///
    /// - Parameters:
    ///   - time: How long each figure may take.
    ///   - round: Grows from call to call by at least 1, the same on all ranks.
    /// - Returns: On the lower rank of the pair, where verbs carry its bytes; else nil.
    public func measure(
        _ pair: (Rank, Rank), time: Duration, round: Int
    ) throws(TransportError) -> VerbsFigures? {
        try fabric.barrier(deadline: deadline)
        var figures: VerbsFigures?
        let isFirst = fabric.rank == pair.0
        let other = isFirst ? pair.1 : pair.0
        // Also a rank with verbs to other nodes reaches its own by stores.
        if isFirst || fabric.rank == pair.1, case .verbs = fabric.path(to: other),
            let engine = (fabric as? RankFabric)?.engine
        {
            let probe = VerbsProbe(
                engine: engine, window: window, other: other, time: time.wholeNanoseconds,
                deadline: deadline)
            engine.beginPolling()
            defer { engine.endPolling(isSleepNext: true) }
            let write = try probe.pingPong(
                isFirst: isFirst, rounds: 500, base: UInt64(round) << 32)
            if isFirst {
                figures = VerbsFigures(
                    writeMicroseconds: write,
                    readMicroseconds: try probe.readLatency(rounds: 500),
                    writeBytesPerSecond: try probe.bandwidth(isRead: false),
                    readBytesPerSecond: try probe.bandwidth(isRead: true))
            }
        }
        try fabric.barrier(deadline: deadline)
        return figures
    }
}

/// One side of one pair's raw measurement.
///
/// The first words of window and staging are the ping-pong's; messages use the other slots.
private struct VerbsProbe {
    let engine: ProgressEngine
    let window: Window
    let other: Rank
    let time: UInt64
    let deadline: Deadline

    private var clock: FabricClock { window.fabric.clock }

    private func post(isRead: Bool, _ range: Range<Int>) throws(TransportError) {
        guard let local = unsafe window.stagedBytes(range) else { return }
        _ = try engine.withVerbs { (verbs) throws(TransportError) in
            try unsafe verbs.postRaw(
                isRead: isRead, of: other, local, range.count, window: window.identifier,
                offset: range.lowerBound)
        }
    }

    /// Returns when at most `count` operations are in flight.
    private func wait(inFlight count: Int) throws(TransportError) {
        try spin { () throws(TransportError) in
            let left = try engine.withVerbs { verbs in
                verbs.remotes[other.rawValue].rawOutstanding
            }
            return (left ?? 0) <= count
        }
    }

    private func spin(
        until isDone: () throws(TransportError) -> Bool
    ) throws(TransportError) {
        while try !isDone() {
            engine.poll()
            if let loss = window.fabric.loss(
                awaiting: [SignalCondition(signal: 0, atLeast: 0, source: other)],
                deadline: deadline)
            {
                throw loss
            }
            if deadline.hasPassed { throw deadline.missed(by: other) }
        }
    }

    /// The median of half a round trip, in microseconds.
    func pingPong(isFirst: Bool, rounds: Int, base: UInt64) throws(TransportError) -> Double {
        var times: [UInt64] = []
        for round in 1 ... rounds {
            let value = base + UInt64(round)
            let begin = clock.nanoseconds
            if !isFirst { try see(value) }
            window.withStaging(0 ..< 8) {
                $0.storeBytes(of: value, toByteOffset: 0, as: UInt64.self)
            }
            try post(isRead: false, 0 ..< 8)
            if isFirst { try see(value) }
            times.append(clock.nanoseconds - begin)
            try wait(inFlight: 0)
        }
        return median(times) / 2
    }

    private func see(_ value: UInt64) throws(TransportError) {
        try spin {
            window.withBytes(0 ..< 8) {
                unsafe $0.unsafeLoad(fromByteOffset: 0, as: UInt64.self) == value
            }
        }
    }

    func readLatency(rounds: Int) throws(TransportError) -> Double {
        var times: [UInt64] = []
        for _ in 0 ..< rounds {
            let begin = clock.nanoseconds
            try post(isRead: true, 8 ..< 16)
            try wait(inFlight: 0)
            times.append(clock.nanoseconds - begin)
        }
        return median(times)
    }

    func bandwidth(isRead: Bool) throws(TransportError) -> Double {
        let size = VerbsMeasurement.messageBytes
        let begin = clock.nanoseconds
        var count = 0
        repeat {
            try wait(inFlight: VerbsMeasurement.depth - 2)
            let slot = (1 + count % (VerbsMeasurement.depth - 1)) * size
            try post(isRead: isRead, slot ..< slot + size)
            count += 1
        } while clock.nanoseconds - begin < time
        try wait(inFlight: 0)
        return Double(count * size) / (Double(clock.nanoseconds - begin) / 1e9)
    }

    private func median(_ times: [UInt64]) -> Double {
        Double(times.sorted()[times.count / 2]) / 1000
    }
}
