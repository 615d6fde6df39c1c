import Testing
import Topology

@testable import Pipeline

@Suite struct ScheduleTests {
    @Test(arguments: ScheduleKind.allCases)
    func `every size up to 16 stages and 64 micro-batches is complete and free of deadlock`(
        kind: ScheduleKind
    ) throws {
        var checked = 0
        for ranks in 1 ... 16 where kind.stageCount(ranks: ranks) <= 16 {
            for microBatches in 1 ... 64 {
                do {
                    let schedule = try kind.schedule(ranks: ranks, microBatches: microBatches)
                    try schedule.check()
                    checked += 1
                } catch let error as ScheduleError {
                    #expect(isRefused(kind, ranks, microBatches), "\(error)")
                }
            }
        }
        let expected = [
            ScheduleKind.forwardOnly: 1024, .oneForwardOneBackward: 1024, .zeroBubbleOne: 1024,
            .zeroBubbleV: 512, .dualPipe: 192, .dualPipeV: 448,
        ]
        #expect(checked == expected[kind])
    }

    /// The sizes that DualPipe and DualPipeV do not serve, from their definition.
    private func isRefused(_ kind: ScheduleKind, _ ranks: Int, _ microBatches: Int) -> Bool {
        switch kind {
        case .dualPipe:
            !ranks.isMultiple(of: 2) || !microBatches.isMultiple(of: 2) || microBatches < 2 * ranks
        case .dualPipeV: microBatches < 2 * ranks
        default: false
        }
    }

    @Test func `a receive without its send is a deadlock that names the rank`() throws {
        let good = try ScheduleKind.oneForwardOneBackward.schedule(ranks: 2, microBatches: 2)
        var steps = good.steps
        steps[0].removeAll { if case .send = $0 { true } else { false } }
        let broken = remade(good, steps)
        #expect(throws: ScheduleFault.deadlock(1, steps[1][0])) { try broken.check() }
    }

    @Test func `a missing weight gradient is found`() throws {
        let good = try ScheduleKind.zeroBubbleOne.schedule(ranks: 2, microBatches: 3)
        var steps = good.steps
        steps[1].removeLast()
        #expect(throws: ScheduleFault.count("weight gradient", Cell(1, 2), 0)) {
            try remade(good, steps).check()
        }
    }

    @Test func `a backward before its forward is found`() throws {
        let good = try ScheduleKind.oneForwardOneBackward.schedule(ranks: 1, microBatches: 1)
        #expect(throws: ScheduleFault.self) {
            try remade(good, [good.steps[0].reversed()]).check()
        }
    }

    @Test func `a rank that hoards activations is found`() throws {
        let good = try ScheduleKind.oneForwardOneBackward.schedule(ranks: 1, microBatches: 2)
        let hoarding = remade(good, [[.forward(Cell(0, 0)), .forward(Cell(0, 1))]])
        #expect(throws: ScheduleFault.memory(0, 2, limit: 1)) { try hoarding.check() }
    }

    private func remade(_ schedule: Schedule, _ steps: [[Step]]) -> Schedule {
        Schedule(
            kind: schedule.kind, stageCount: schedule.stageCount, rankCount: schedule.rankCount,
            microBatchCount: schedule.microBatchCount, placement: schedule.placement, steps: steps)
    }

    @Test func `sizes that cannot be served say which limit they break`() {
        #expect(throws: ScheduleError.oddRankCount(.dualPipe, ranks: 3)) {
            try ScheduleKind.dualPipe.schedule(ranks: 3, microBatches: 20)
        }
        #expect(throws: ScheduleError.oddMicroBatchCount(.dualPipe, microBatches: 9)) {
            try ScheduleKind.dualPipe.schedule(ranks: 4, microBatches: 9)
        }
        let error = #expect(throws: ScheduleError.self) {
            try ScheduleKind.dualPipe.schedule(ranks: 8, microBatches: 14)
        }
        #expect(
            error?.description
                == "14 micro-batches are too few: DualPipe over 8 ranks needs at least 16")
    }
}
