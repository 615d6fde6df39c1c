import Encoding
import Testing
import Topology

@testable import Serving

/// Which role a group has, as loads come and go.
@Suite struct RoleAssignmentTests {
    /// A change every 40 s at most, wants of 10 s, 160 s to end the work: 8192 tokens per rank.
    private static let rule = RoleRule(interval: .seconds(40), stepTokens: 512)

    private static func assignment() -> RoleAssignment {
        RoleAssignment([.prefill, .decode, .decode, .decode], rule)
    }

    /// One rank each, with slots for 10 texts.
    private static func loads(
        tokens: Int = 0, _ texts: [Int] = [0, 0, 0], living: [Int] = [1, 1, 1, 1]
    ) -> [RoleAssignment.Load] {
        ([0] + texts).enumerated().map { index, texts in
            RoleAssignment.Load(
                livingRanks: living[index], prompts: index == 0 && tokens > 0 ? 1 : 0,
                promptTokens: index == 0 ? tokens : 0, texts: texts, slots: 10 * living[index])
        }
    }

    /// What happens while the same loads last, second by second.
    private static func run(
        _ assignment: inout RoleAssignment, _ seconds: Range<Int>, _ loads: [RoleAssignment.Load]
    ) -> [(second: Int, change: RoleChange)] {
        seconds.compactMap { second in
            assignment.apply(loads, now: .seconds(second)).map { (second, $0) }
        }
    }

    @Test func `the group with the fewest texts prefills while prompts wait, and comes back`() {
        var roles = Self.assignment()
        let waiting = Self.loads(tokens: 8192, [3, 1, 2])
        // A burst that is over before it has lasted changes nothing, however often it comes.
        for burst in 0 ..< 10 {
            #expect(Self.run(&roles, burst * 10 ..< burst * 10 + 9, waiting).isEmpty)
            #expect(roles.apply(Self.loads(tokens: 8191), now: .seconds(burst * 10 + 9)) == nil)
        }
        let begun = Self.run(&roles, 100 ..< 120, waiting)
        #expect(begun.map(\.second) == [110] && begun[0].change.outcome == .begun)
        #expect(begun[0].change.group == 2 && begun[0].change.role == .prefill)
        #expect(roles.roles == [.prefill, .decode, .decode, .decode])
        #expect(roles.leaving?.group == 2)
        // Its text ends.
        let done = Self.run(&roles, 120 ..< 130, Self.loads(tokens: 8192, [3, 0, 2]))
        #expect(done.map(\.second) == [120] && done[0].change.outcome == .done)
        #expect(roles.roles == [.prefill, .decode, .prefill, .decode] && roles.changeCount == 1)
        // Prompts still wait, but a change began within 40 s; then the last one but one goes.
        let again = Self.run(&roles, 130 ..< 152, Self.loads(tokens: 1 << 20, [0, 0, 0]))
        #expect(again.map(\.second) == [150, 151] && again.map(\.change.group) == [1, 1])
        #expect(roles.roles == [.prefill, .prefill, .prefill, .decode])
        // The last one never does.
        #expect(Self.run(&roles, 152 ..< 500, Self.loads(tokens: 1 << 20)).isEmpty)
        // A load between the limits changes nothing; without it both go back, one after the other.
        #expect(Self.run(&roles, 500 ..< 900, Self.loads(tokens: 8192)).isEmpty)
        let back = Self.run(&roles, 900 ..< 1000, Self.loads())
        #expect(back.map(\.second) == [910, 911, 950, 951])
        #expect(back.map(\.change.group) == [1, 1, 2, 2] && back[0].change.cause == .calm)
        #expect(roles.roles == [.prefill, .decode, .decode, .decode] && roles.changeCount == 4)
        #expect(Self.run(&roles, 1000 ..< 1400, Self.loads()).isEmpty)
    }

    @Test func `a group decodes while texts fill the others, not while prompts wait as well`() {
        var roles = RoleAssignment([.prefill, .prefill, .decode], Self.rule)
        func loads(_ tokens: [Int], texts: Int) -> [RoleAssignment.Load] {
            [
                RoleAssignment.Load(
                    livingRanks: 1, prompts: tokens[0] > 0 ? 1 : 0, promptTokens: tokens[0],
                    slots: 10),
                RoleAssignment.Load(
                    livingRanks: 1, prompts: tokens[1] > 0 ? 1 : 0, promptTokens: tokens[1],
                    slots: 10),
                RoleAssignment.Load(livingRanks: 1, texts: texts, slots: 10),
            ]
        }
        #expect(Self.run(&roles, 0 ..< 100, loads([0, 0], texts: 8)).isEmpty)
        // Nobody goes where half of what calls for another one would wait for the one that stays.
        var tight = RoleAssignment([.prefill, .prefill, .decode], Self.rule)
        #expect(Self.run(&tight, 100 ..< 300, loads([4096, 4096], texts: 9)).isEmpty)
        #expect(Self.run(&roles, 100 ..< 200, loads([4095, 0], texts: 9)).count == 2)
        #expect(roles.roles == [.prefill, .decode, .decode])
        var busy = RoleAssignment([.prefill, .prefill, .decode], Self.rule)
        // Both lack ranks: neither gives one away.
        #expect(Self.run(&busy, 100 ..< 200, loads([8192, 8192], texts: 10)).isEmpty)
    }

    /// Else it would go, the others would be full, and it would come back, without end.
    @Test func `what a group does counts for those that stay`() {
        var roles = Self.assignment()
        // Of each group's 10 slots 6 are taken; of the 20 that two groups have, 18 would be.
        #expect(Self.run(&roles, 0 ..< 200, Self.loads(tokens: 9000, [6, 6, 6])).isEmpty)
        #expect(Self.run(&roles, 200 ..< 220, Self.loads(tokens: 9000, [4, 4, 4])).count == 1)
        var home = RoleAssignment([.prefill, .prefill, .decode], Self.rule)
        func loads(_ texts: [Int]) -> [RoleAssignment.Load] {
            texts.map { RoleAssignment.Load(livingRanks: 1, texts: $0, slots: 10) }
        }
        #expect(Self.run(&home, 0 ..< 100, loads([0, 0, 9])).count == 2)
        let after = home.roles
        #expect(after.count { $0 == .decode } == 2)
        let texts = after.map { $0 == .decode ? 4 : 0 }
        #expect(Self.run(&home, 100 ..< 300, loads(texts)).isEmpty)
        #expect(Self.run(&home, 300 ..< 320, loads(texts.map { $0 / 2 })).count == 1)
    }

    @Test func `a group that does not end its work keeps its role, as when others are full`() {
        var roles = Self.assignment()
        let waiting = Self.loads(tokens: 9000, [1, 1, 1])
        let tooLong = Self.run(&roles, 0 ..< 175, waiting)
        #expect(tooLong.map(\.second) == [10, 170])
        #expect(tooLong[1].change.outcome == .dropped("its work was not done within 160 s"))
        #expect(tooLong[1].change.newRole == nil && roles.leaving == nil)
        #expect(Self.run(&roles, 175 ..< 185, waiting).map(\.second) == [181])
        // The others fill up meanwhile: the groups of role decode that stay have 20 slots.
        let full = Self.run(&roles, 185 ..< 190, Self.loads(tokens: 9000, [1, 9, 9]))
        #expect(full.map(\.second) == [185])
        guard case .dropped = full[0].change.outcome else {
            Issue.record("\(full[0].change)")
            return
        }
        #expect(roles.roles == [.prefill, .decode, .decode, .decode] && roles.changeCount == 0)
    }

    @Test func `a role that lost its ranks gets a group, which goes back when they return`() {
        var roles = Self.assignment()
        let lost = Self.loads([2, 0, 1], living: [0, 1, 1, 1])
        let taken = Self.run(&roles, 0 ..< 30, lost)
        #expect(taken.map(\.second) == [10, 11] && taken[0].change.group == 2)
        #expect(taken[0].change.cause == .noRank(.prefill))
        let back = Self.run(&roles, 60 ..< 90, Self.loads([2, 0, 1]))
        #expect(back.map(\.second) == [70, 71] && back[1].change.role == .decode)
        // A rank that is back before the group has left its role leaves it where it is.
        let lostAgain = Self.loads([2, 2, 2], living: [0, 1, 1, 1])
        #expect(Self.run(&roles, 200 ..< 220, lostAgain).count == 1)
        let dropped = Self.run(&roles, 220 ..< 222, Self.loads([2, 2, 2]))
        #expect(dropped.count == 1 && dropped[0].change.newRole == nil)
        // The last group of a role does not go, whoever is lost; nor does one without a rank.
        var two = Self.assignment()
        #expect(
            Self.run(&two, 0 ..< 100, Self.loads(tokens: 1 << 20, living: [1, 0, 1, 0])).isEmpty)
        #expect(Self.run(&two, 100 ..< 200, Self.loads(living: [0, 0, 1, 0])).isEmpty)
    }

    /// Loads, losses and returns at random.
    @Test func `no load empties a role, or changes groups faster than the interval`() {
        var (begunCount, doneCount, droppedCount) = (0, 0, 0)
        for seed in UInt64(0) ..< 2000 {
            var random = SplitMix64(seed: seed)
            let count = Int.random(in: 2 ... 6, using: &random)
            let written = (0 ..< count).map { $0 == 0 ? RankRole.prefill : .decode }
            var roles = RoleAssignment(written, Self.rule)
            var loads = written.map { _ in RoleAssignment.Load(livingRanks: 2, slots: 20) }
            var begun: Duration?
            for step in 0 ..< 300 {
                let now = Duration.seconds(step * 5)
                let group = Int.random(in: 0 ..< count, using: &random)
                switch Int.random(in: 0 ..< 8, using: &random) {
                case 0: loads[group].livingRanks = Int.random(in: 0 ... 2, using: &random)
                case 1: loads[group].texts = Int.random(in: 0 ... 25, using: &random)
                case 2: loads[group].promptTokens = Int.random(in: 0 ... 60_000, using: &random)
                case 3: (loads[group].texts, loads[group].promptTokens) = (0, 0)
                default: break
                }
                loads[group].prompts = loads[group].promptTokens > 0 ? 1 : 0
                loads[group].slots = 10 * loads[group].livingRanks
                let before = roles.roles
                guard let change = roles.apply(loads, now: now) else {
                    #expect(roles.roles == before, "seed \(seed)")
                    continue
                }
                func hasOther() -> Bool {
                    before.indices.contains {
                        $0 != change.group && before[$0] == before[change.group]
                            && loads[$0].livingRanks > 0
                    }
                }
                switch change.outcome {
                case .begun:
                    #expect(begun.map { now - $0 >= .seconds(40) } ?? true, "seed \(seed)")
                    #expect(hasOther(), "seed \(seed)")
                    begun = now
                    begunCount += 1
                case .done:
                    doneCount += 1
                    #expect(hasOther(), "seed \(seed)")
                    let load = loads[change.group]
                    #expect(
                        before[change.group] == .prefill ? load.prompts == 0 : load.texts == 0,
                        "seed \(seed)")
                    #expect(zip(before, roles.roles).count { $0 != $1 } == 1, "seed \(seed)")
                case .dropped:
                    droppedCount += 1
                    #expect(roles.roles == before, "seed \(seed)")
                }
            }
        }
        #expect(min(doneCount, droppedCount) > 1000 && begunCount >= doneCount + droppedCount)
    }
}
