import Collectives
import Encoding
import Foundation
import Tensors
import Topology
public import Transport

/// One rank's part of the all-to-all benchmark: exchanges that are timed, then checked byte by
/// byte.
public final class AllToAllBenchmark {
    /// What is measured.
    public let options: AllToAllOptions

    let fabric: any Fabric
    let group: ExpertParallelGroup
    let map: ExpertMap
    let oracle: Oracle
    let rows: TestRows
    private let measured: any MeasuredRows
    private var measurement = RankMeasurement()
    private var hash = FNV1a()
    private var isMeasured = false

    /// Makes the windows. Collective.
    public init(fabric: any Fabric, options: AllToAllOptions) throws {
        self.fabric = fabric
        self.options = options
        let configuration = options.configuration
        let map = try ExpertMap.contiguous(
            expertCount: options.expertCount, rankCount: fabric.rankCount)
        self.map = map
        group = try ExpertParallelGroup(
            fabric: fabric, configuration: configuration, map: map)
        try Self.agree(fabric, options)
        rows = TestRows(
            hidden: options.hiddenSize, codec: options.dispatchCodec, seed: options.seed)
        oracle = Oracle(
            rows: rows, ranks: OracleRanks(rank: fabric.rank, nodes: group.nodes),
            configuration: configuration, map: map,
            storedCodec: options.storedCodec)
        measured =
            switch options.path {
            case .serving:
                ServingRows(options, experts: map.experts(on: fabric.rank, layer: 0))
            case .library: LibraryRows(options)
            }
        let memory = ExpertParallelGroup.memoryByteCount(
            configuration, map: map, nodes: group.nodes, rank: fabric.rank)
        measurement.memoryBytes = memory.window + memory.staging
        measurement.nodes = group.nodes.map(\.rawValue)
        measurement.paths = fabric.ranks.map { "\(fabric.path(to: $0))" }
    }

    /// Ranks with another seed or count would find fault with each other's bytes.
    private static func agree(_ fabric: any Fabric, _ options: AllToAllOptions) throws {
        let ours = try options.agreement()
        let blobs = try fabric.allGather(
            Array(JSONEncoder().encode(options)), label: "benchmark options",
            deadline: fabric.deadline(.seconds(options.limitSeconds), "benchmark options"))
        for (index, blob) in blobs.enumerated() {
            let theirs = try JSONDecoder().decode(AllToAllOptions.self, from: Data(blob))
                .agreement()
            for (mine, other) in zip(ours, theirs) where mine != other {
                throw CollectivesError.disagreement(
                    Rank(rawValue: index), subject: mine.subject, theirs: other.value,
                    ours: mine.value)
            }
        }
    }

    /// Runs warm-up and measured iterations, then the limit, and gives every rank all
    /// measurements.
    ///
    /// - Parameter progress: Told of each finished iteration.
    package func run(progress: (_ done: Int, _ of: Int) -> Void) throws -> [RankMeasurement] {
        let counts = [Int](repeating: options.tokenCount, count: fabric.rankCount)
        try use(counts, round: 0)
        let total = options.warmUpCount + options.iterationCount
        measurement.dispatch.makeRoom(for: options.iterationCount)
        measurement.combine.makeRoom(for: options.iterationCount)
        var recordedBefore = Duration.zero
        for iteration in 0 ..< total {
            isMeasured = iteration >= options.warmUpCount
            if iteration == options.warmUpCount {
                noteResidentMemory()
                recordedBefore = group.recordingTime
            }
            try iterate(round: iteration, tokenCount: options.tokenCount)
            progress(iteration + 1, total)
        }
        noteResidentMemory()
        measurement.recordingNanoseconds = UInt64(
            (group.recordingTime - recordedBefore) / .nanoseconds(1))
        noteBytes()
        try measureLimits()
        return try exchangeMeasurements()
    }

    /// Runs for a time with shapes, delays and empty ranks drawn anew in each round.
    package func runUnderPressure(
        seconds: Double, progress: (_ rounds: Int) -> Void
    ) throws -> [RankMeasurement] {
        let end = fabric.clock.nanoseconds + UInt64(seconds * 1e9)
        var shared = SplitMix64(seed: options.seed)
        var own = SplitMix64(seed: options.seed &+ 77 &+ UInt64(fabric.rank.rawValue))
        var isOver = false
        while !isOver {
            measurement.rounds += 1
            let counts = (0 ..< fabric.rankCount).map { _ in
                let draw = shared.next()
                return draw % 4 == 0 ? 0 : Int(draw >> 8) % (options.tokenCount + 1)
            }
            try use(counts, round: measurement.rounds)
            try iterate(
                round: measurement.rounds, tokenCount: counts[fabric.rank.rawValue],
                delay: { Thread.sleep(forTimeInterval: own.exponential() * 0.001) })
            progress(measurement.rounds)
            // All ranks must stop after the same round: rank 0's clock decides.
            let vote: [UInt8] = [fabric.rank == 0 && fabric.clock.nanoseconds >= end ? 1 : 0]
            let votes = try fabric.allGather(vote, label: "pressure", deadline: deadline())
            isOver = votes[0] == [1]
        }
        return try exchangeMeasurements()
    }

    private func use(_ counts: [Int], round: Int) throws {
        oracle.use(
            try counts.indices.map {
                try options.routing(of: Rank(rawValue: $0), tokenCount: counts[$0], round: round)
            })
    }

    private func deadline() -> Deadline {
        fabric.deadline(.seconds(options.limitSeconds), "the benchmark's barrier")
    }

    private func iterate(round: Int, tokenCount: Int, delay: () -> Void = {}) throws {
        // Each record is read before the next exchange: memory does not grow with their number.
        group.forgetRecords()
        let filling = fabric.clock.nanoseconds
        measured.fill(rows, round: round, rank: fabric.rank, tokenCount: tokenCount)
        let filled = fabric.clock.nanoseconds - filling

        try fabric.barrier(deadline: deadline())
        delay()
        let start = fabric.clock.nanoseconds
        let inFlight = try measured.dispatch(
            oracle.routings[fabric.rank.rawValue], group, map)
        delay()
        let received = try inFlight.wait()
        try measured.place(received)
        keep(\.dispatch, since: start, computed: filled)
        // Checking what came would take the core from ranks that are not there yet.
        try fabric.barrier(deadline: deadline())

        measurement.wrong += try oracle.wrongTokens(in: received, round: round)
        let computing = fabric.clock.nanoseconds
        try measured.compute(received, oracle, round: round)
        let computed = fabric.clock.nanoseconds - computing
        try fabric.barrier(deadline: deadline())
        delay()
        let restart = fabric.clock.nanoseconds
        let returning = try measured.combine(received, group)
        delay()
        try measured.finish(returning)
        keep(\.combine, since: restart, computed: computed)
        try fabric.barrier(deadline: deadline())
        let sums = measured.sums()
        measurement.wrong += oracle.wrongSums(in: sums, round: round)
        hash.add(sums)
    }

    private func keep(
        _ half: WritableKeyPath<RankMeasurement, RankMeasurement.Samples>, since start: UInt64,
        computed: UInt64
    ) {
        let end = fabric.clock.nanoseconds
        guard isMeasured, let record = group.records.last else { return }
        let waited = UInt64(record.exposedTime / .nanoseconds(1))
        measurement[keyPath: half].samples.append(
            TimedExchange(
                nanoseconds: end - start, began: start, waited: waited, computed: computed,
                lastAwaited: record.lastAwaited(in: end - start)?.rawValue))
    }

    private func noteBytes() {
        for record in group.records.suffix(2) {
            let half: WritableKeyPath<RankMeasurement, RankMeasurement.Samples> =
                record.kind == .dispatch ? \.dispatch : \.combine
            measurement[keyPath: half].logicalBytes = record.logicalBytes
            measurement[keyPath: half].physicalBytes = record.physicalBytes
            measurement[keyPath: half].crossingRows = record.crossingRows
        }
    }

    private func noteResidentMemory() {
        measurement.residentBytes.append(ResidentMemory.now)
    }

    private func measureLimits() throws {
        let limit = try TransferLimit(
            fabric: fabric,
            largestBytes: max(
                measurement.dispatch.logicalBytes.reduce(0, +),
                measurement.combine.logicalBytes.reduce(0, +)),
            deadline: deadline())
        measurement.dispatch.limitNanoseconds = try limit.measure(
            measurement.dispatch.logicalBytes, physical: measurement.dispatch.physicalBytes)
        measurement.combine.limitNanoseconds = try limit.measure(
            measurement.combine.logicalBytes, physical: measurement.combine.physicalBytes)
    }

    private func exchangeMeasurements() throws -> [RankMeasurement] {
        measurement.hash = hash.value
        let blob = try Array(JSONEncoder().encode(measurement))
        let all = try fabric.allGatherInParts(blob, label: "measurements", deadline: deadline())
        return try all.map { try JSONDecoder().decode(RankMeasurement.self, from: Data($0)) }
    }
}

extension FNV1a {
    /// Adds rows by 64-bit words.
    mutating func add(_ rows: EncodedRows) {
        for row in 0 ..< rows.rows {
            let bytes = rows.row(row)
            for offset in stride(from: 0, to: bytes.byteCount - 7, by: 8) {
                add(bytes.word(at: offset))
            }
        }
    }
}
