import Encoding

/// Draws experts evenly, with whole numbers alone: every machine draws the same.
///
/// A token takes `topGroups` groups of experts, then `topK` experts of those (DeepSeek-V3's
/// node-limited routing, with even scores).
struct RoutingDraw {
    private let seed: UInt64
    private let tokenCount: Int
    private let topK: Int
    private let groupSize: Int
    private let groupCount: Int
    private let topGroups: Int

    /// - Parameter round: Exchanges of one seed have routings of their own.
    init(_ options: SimulationOptions, round: Int = 0) {
        seed = options.seed &+ UInt64(round) &* 0xd1b5_4a32_d192_ed03
        tokenCount = options.tokenCount
        topK = options.topK
        groupCount = options.expertGroups
        topGroups = options.topGroups
        groupSize = options.expertCount / options.expertGroups
    }

    /// The experts of a rank's tokens, `[tokens, topK]`.
    func experts(of rank: Int) -> [Int32] {
        var random = SplitMix64(seed: SplitMix64.mix(seed) &+ UInt64(rank) &* 0x9e37_79b9)
        var result: [Int32] = []
        result.reserveCapacity(tokenCount * topK)
        var groups = Array(0 ..< groupCount)
        for _ in 0 ..< tokenCount {
            if topGroups < groupCount {
                for place in 0 ..< topGroups {
                    groups.swapAt(place, place + random.below(groupCount - place))
                }
            }
            let first = result.count
            while result.count < first + topK {
                let draw = random.below(topGroups * groupSize)
                let expert = Int32(groups[draw / groupSize] * groupSize + draw % groupSize)
                if !result[first...].contains(expert) { result.append(expert) }
            }
        }
        return result
    }
}

extension SplitMix64 {
    /// A whole number from 0 to below the limit. The bias of the remainder is below 2^-40.
    fileprivate mutating func below(_ limit: Int) -> Int { Int(next() >> 1) % limit }
}
