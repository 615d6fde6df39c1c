/// One timed half of one exchange on one rank, in nanoseconds.
package struct TimedExchange: Codable, Sendable {
    /// From the barrier to the end.
    package var nanoseconds: UInt64
    /// When it began, on the node's clock.
    package var began: UInt64
    /// The part in which the rank only waited.
    package var waited: UInt64
    /// How long the rank worked between the barriers before it.
    package var computed: UInt64 = 0
    /// The number of the rank whose bytes ended the last wait.
    package var lastAwaited: Int?
}

/// What one rank measured, as it tells the others.
package struct RankMeasurement: Codable, Sendable {
    /// Samples and bytes of the dispatches, or of the combines.
    package struct Samples: Codable, Sendable {
        /// One per iteration.
        package var samples: [TimedExchange] = []
        /// Per rank.
        package var logicalBytes: [Int] = []
        package var physicalBytes: [Int] = []
        /// Rows that went to other nodes.
        package var crossingRows = 0
        /// The same bytes without routing and packing, best of a few.
        package var limitNanoseconds: UInt64 = 0

        /// Takes and touches the memory of that many samples, so that measuring takes none.
        mutating func makeRoom(for count: Int) {
            let none = TimedExchange(nanoseconds: 0, began: 0, waited: 0)
            samples = [TimedExchange](repeating: none, count: count)
            samples.removeAll(keepingCapacity: true)
        }
    }

    /// Of the dispatches, and of the combines.
    package var dispatch = Samples()
    package var combine = Samples()
    /// Rows that were not what brute force gives.
    package var wrong = 0
    /// Of all results of this rank: equal in every run of a seed.
    package var hash: UInt64 = 0
    /// The node of each rank.
    package var nodes: [Int] = []
    /// How bytes get to each rank.
    package var paths: [String] = []
    /// What it cost to leave records of the measured halves.
    package var recordingNanoseconds: UInt64 = 0
    /// Window and staging bytes.
    package var memoryBytes = 0
    /// Resident memory after the warm-up and at the end.
    package var residentBytes: [Int] = []
    /// Iterations that a pressure run made.
    package var rounds = 0
}

/// Order statistics of one half over its iterations.
public struct Statistics: Codable, Sendable {
    /// Of the slowest rank of each iteration.
    package let p50: Double, p99: Double, minimum: Double, maximum: Double, mean: Double
    /// Median over iterations: last rank's start after the first's, and mean wait of the ranks.
    package let skew: Double, wait: Double
    /// Microseconds of each iteration.
    package let microseconds: [Double]

    /// Combines what the ranks measured.
    package init(_ halves: [RankMeasurement.Samples]) {
        let count = halves.map(\.samples.count).min() ?? 0
        var times: [Double] = []
        var skews: [Double] = []
        var waits: [Double] = []
        for iteration in 0 ..< count {
            let samples = halves.map { $0.samples[iteration] }
            times.append(Double(samples.map(\.nanoseconds).max() ?? 0) / 1000)
            let begins = samples.map(\.began)
            skews.append(Double((begins.max() ?? 0) - (begins.min() ?? 0)) / 1000)
            waits.append(
                samples.map { Double($0.waited) / 1000 }.reduce(0, +) / Double(halves.count))
        }
        microseconds = times
        p50 = Self.percentile(times, 0.5)
        p99 = Self.percentile(times, 0.99)
        minimum = times.min() ?? 0
        maximum = times.max() ?? 0
        mean = times.isEmpty ? 0 : times.reduce(0, +) / Double(times.count)
        skew = Self.percentile(skews, 0.5)
        wait = Self.percentile(waits, 0.5)
    }

    /// The smallest value that at least this share of the values does not exceed.
    package static func percentile(_ values: [Double], _ share: Double) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        let place = Int((share * Double(sorted.count)).rounded(.up)) - 1
        return sorted[min(max(place, 0), sorted.count - 1)]
    }
}
