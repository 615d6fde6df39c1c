import Encoding
import Testing
import Topology

/// What ranks that stay read while others of their group leave and come back.
@Suite struct RemainingExpertsTests {
    /// A group whose ranks leave and come back, one after the other.
    private struct Course {
        let whole: ExpertPlacement
        var living: [Rank]
        var held: [Rank: Set<ExpertID>]
        /// Copies that ranks read which lived before.
        var read = 0
        /// Experts of which no copy was left: at least one rank must read each.
        var needed = 0

        init(_ whole: ExpertPlacement) {
            self.whole = whole
            living = (0 ..< whole.rankCount).map { Rank(rawValue: $0) }
            held = [:]
            for rank in living { held[rank] = Set(whole.experts(on: rank)) }
        }

        /// A rank leaves, or comes back with its place.
        mutating func toggle(_ rank: Rank) throws -> ExpertPlacement {
            let isBack = !living.contains(rank)
            living = isBack ? (living + [rank]).sorted() : living.filter { $0 != rank }
            held[rank] = isBack ? Set(whole.experts(on: rank)) : nil
            let rest = try whole.remaining(on: living)
            needed += whole.expertCount - held.values.reduce(Set<ExpertID>()) { $0.union($1) }.count
            for (place, other) in living.enumerated() {
                let experts = Set(rest.expertsByRank[place])
                if other != rank { read += experts.subtracting(held[other] ?? []).count }
                held[other] = experts
            }
            return rest
        }

        /// Another rank than those that are away, or one of these, at most half of all.
        mutating func step(_ random: inout SplitMix64) throws -> ExpertPlacement {
            let all = (0 ..< whole.rankCount).map { Rank(rawValue: $0) }
            let away = all.filter { !living.contains($0) }
            let isFull = away.count >= whole.rankCount / 2
            let comes = !away.isEmpty && (isFull || Bool.random(using: &random))
            guard let rank = (comes ? away : living).randomElement(using: &random) else {
                return whole
            }
            return try toggle(rank)
        }
    }

    @Test(arguments: 0 ..< UInt64(100))
    func `whoever leaves and returns, every expert lives, and no rank takes more than the mean`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 2 ... 24, using: &random)
        let experts = Int.random(in: ranks ... 128, using: &random)
        let more = Int.random(in: 0 ... experts / 4, using: &random)
        let whole = try ExpertPlacement.contiguous(
            expertCount: experts, rankCount: ranks, redundantCount: more)
        var course = Course(whole)
        for _ in 0 ..< 30 {
            let rest = try course.step(&random)
            // The initialiser of a placement refuses one without a copy of each expert.
            #expect(rest.expertCount == experts && rest.rankCount == course.living.count)
            let counts = rest.expertsByRank.map(\.count)
            let mean = (counts.reduce(0, +) + counts.count - 1) / counts.count
            for (place, rank) in course.living.enumerated() {
                let own = whole.experts(on: rank)
                #expect(rest.expertsByRank[place].starts(with: own), "seed \(seed)")
                #expect(counts[place] <= max(mean, own.count), "seed \(seed): \(counts)")
            }
            // Who is away decides alone, not the order in which they left.
            #expect(try whole.remaining(on: course.living) == rest)
        }
    }

    @Test(arguments: 0 ..< UInt64(50), [0, 16])
    func `ranks that stay read less than twice what they must`(seed: UInt64, more: Int) throws {
        var random = SplitMix64(seed: seed)
        var course = Course(
            try .contiguous(expertCount: 256, rankCount: 16, redundantCount: more))
        for _ in 0 ..< 40 { _ = try course.step(&random) }
        // Dealing all of them anew each time reads four times as much as is needed.
        #expect(course.needed > 0 && course.read < 2 * course.needed, "seed \(seed): \(course)")
    }

    @Test func `what a rank took over stays there when another one leaves`() throws {
        var course = Course(try .contiguous(expertCount: 10, rankCount: 5))
        #expect(
            try course.toggle(3).expertsByRank
                == [[0, 1, 6], [2, 3], [4, 5, 7], [8, 9]])
        #expect(
            try course.toggle(1).expertsByRank == [[0, 1, 2, 6], [4, 5, 3, 7], [8, 9]])
        #expect(course.read == 4 && course.needed == 4)
    }

    @Test func `ranks that are drained one after the other read about what each leaves`() throws {
        var course = Course(try .contiguous(expertCount: 256, rankCount: 16))
        for rank in 0 ..< 8 { _ = try course.toggle(Rank(rawValue: rank)) }
        #expect(course.read * 2 < course.needed * 3, "\(course.read) of \(course.needed)")
    }
}
