public import Collectives
import Encoding
import Foundation

/// Draws routings for benchmarks and tests: the same seed gives the same choices everywhere.
public struct RoutingGenerator: Sendable {
    /// How popular the experts are.
    public enum Pattern: Hashable, Sendable {
        /// All alike.
        case uniform
        /// The expert of popularity n is drawn with weight 1 / n^exponent.
        case zipf(Double)
        /// A sixteenth of the experts, at least top-k of them, draws `share` of the tokens.
        case kHot(share: Double)
        /// As often as counted elsewhere, one count per expert.
        case counts([Double])
    }

    /// Routed experts of the model.
    public let expertCount: Int
    /// Choices per token.
    public let topK: Int
    /// Expert groups, and how many of them a token may use; equal numbers mean no limit.
    public let groupCount: Int, topGroups: Int
    private let popularity: [Double]

    /// Far above any model's experts in one layer.
    package static let maximumExpertCount = 1 << 20

    /// Prepares to draw.
    ///
    /// - Throws: `CollectivesError.limit` if the groups do not divide the experts, or the groups a
    ///   token may use do not hold `topK` experts that can be drawn.
    public init(
        pattern: Pattern, expertCount: Int, topK: Int, groupCount: Int = 1, topGroups: Int = 1
    ) throws(CollectivesError) {
        guard (1 ... Self.maximumExpertCount).contains(expertCount) else {
            throw .limit(
                "experts", value: expertCount, range: 1 ... Self.maximumExpertCount,
                origin: "RoutingGenerator.maximumExpertCount")
        }
        guard (1 ... expertCount).contains(topK) else {
            throw .limit("top-k", value: topK, range: 1 ... expertCount, origin: "experts")
        }
        guard (1 ... expertCount).contains(groupCount), expertCount % groupCount == 0 else {
            throw .limit(
                "groups", value: groupCount, range: 1 ... expertCount,
                origin: "a divisor of experts")
        }
        let room = expertCount / groupCount
        guard (1 ... groupCount).contains(topGroups), topGroups * room >= topK else {
            throw .limit(
                "top groups", value: topGroups, range: (topK + room - 1) / room ... groupCount,
                origin: "groups, and room for top-k experts")
        }
        self.expertCount = expertCount
        self.topK = topK
        self.groupCount = groupCount
        self.topGroups = topGroups
        popularity = try Self.popularity(pattern, expertCount: expertCount, topK: topK)
    }

    private static func popularity(
        _ pattern: Pattern, expertCount: Int, topK: Int
    ) throws(CollectivesError) -> [Double] {
        switch pattern {
        case .uniform: return [Double](repeating: 1, count: expertCount)
        case .zipf(let exponent):
            // A fixed stride that shares no factor with the count spreads the popular experts
            // over the ranks.
            let stride = (7 ..< expertCount + 7).first { gcd($0, expertCount) == 1 } ?? 1
            var weights = [Double](repeating: 0, count: expertCount)
            for place in 0 ..< expertCount {
                weights[place * stride % expertCount] = 1 / pow(Double(place + 1), exponent)
            }
            return weights
        case .kHot(let share):
            let hot = min(expertCount, max(topK, expertCount / 16))
            let cold = expertCount - hot
            return (0 ..< expertCount).map { expert in
                if cold == 0 { return 1 }
                return expert < hot ? share / Double(hot) : (1 - share) / Double(cold)
            }
        case .counts(let counts):
            guard counts.count == expertCount, counts.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
                throw .shape("expert counts", found: [counts.count], expected: [expertCount])
            }
            // An expert that was never seen stays possible, or top-k could not be filled.
            let floor = max(counts.max() ?? 1, 1) * 1e-9
            return counts.map { max($0, floor) }
        }
    }

    /// Draws the routing of one rank.
    ///
    /// Experts are drawn without repetition in proportion to their popularity: each gets the
    /// arrival time of a Poisson process of that rate, and the first `topK` win.
    public func routing(tokenCount: Int, seed: UInt64) throws(CollectivesError) -> Routing {
        var random = SplitMix64(seed: seed)
        var expertIDs: [Int32] = []
        var weights: [Float] = []
        expertIDs.reserveCapacity(tokenCount * topK)
        weights.reserveCapacity(tokenCount * topK)
        var arrivals = [Double](repeating: 0, count: expertCount)
        for _ in 0 ..< tokenCount {
            for expert in 0 ..< expertCount {
                arrivals[expert] = random.exponential() / popularity[expert]
            }
            if topGroups < groupCount { dropGroups(&arrivals) }
            expertIDs += Self.earliest(topK, of: arrivals).map { Int32($0) }
            let raw = (0 ..< topK).map { _ in Float(random.uniform()) + 0.01 }
            let sum = raw.reduce(0, +)
            weights += raw.map { $0 / sum }
        }
        return try Routing(
            tokenCount: tokenCount, topK: topK, expertIDs: expertIDs, weights: weights)
    }

    /// Keeps the groups whose best experts come first, as the gate keeps the best groups.
    private func dropGroups(_ arrivals: inout [Double]) {
        let size = expertCount / groupCount
        let firsts = (0 ..< groupCount).map { group in
            arrivals[group * size ..< (group + 1) * size].min() ?? .infinity
        }
        let kept = Set(Self.earliest(topGroups, of: firsts))
        for expert in 0 ..< expertCount where !kept.contains(expert / size) {
            arrivals[expert] = .infinity
        }
    }

    /// The indices of the `count` smallest values, smallest first.
    private static func earliest(_ count: Int, of values: [Double]) -> [Int] {
        var best: [Int] = []
        for index in values.indices {
            if best.count == count, values[index] >= values[best[count - 1]] { continue }
            let place = best.firstIndex { values[index] < values[$0] } ?? best.count
            best.insert(index, at: place)
            if best.count > count { best.removeLast() }
        }
        return best
    }
}

/// Euclid's greatest common divisor.
private func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }

extension SplitMix64 {
    /// A waiting time of mean 1.
    mutating func exponential() -> Double { -log(1 - uniform()) }
}
