import Collectives
import Foundation
import Synchronization
import Tensors
import Testing
import Topology
import Transport

@testable import Pipeline

/// Schedules performed for real, by ranks whose computation is a sleep: there may be more ranks
/// than cores, and what is measured is the order of work.
@Suite(.serialized) struct ExecutorTests {
    static let unit = 0.02

    @Test(arguments: [
        ScheduleKind.oneForwardOneBackward, .zeroBubbleOne, .zeroBubbleV, .dualPipe, .dualPipeV,
    ])
    func `a performed schedule has the makespan that its own step times simulate to`(
        kind: ScheduleKind
    ) throws {
        let schedule = try kind.schedule(ranks: 4, microBatches: 8)
        let timeline = try perform(schedule)
        let planned = simulate(schedule, as: timeline)
        let measured = timeline.bubbles.max() ?? 0
        #expect(abs(timeline.end - planned.makespan) < 0.1 * planned.makespan)
        #expect(abs(measured - planned.bubbles.max()!) < 0.1 * planned.makespan)
        #expect(Timeline.svg([planned.timeline, timeline]).contains("measured"))
    }

    /// On a busy machine a sleep takes longer than it should: the simulation gets what it took.
    @Test func `DualPipe beats 1F1B by what the simulation says`() throws {
        let kinds = [ScheduleKind.oneForwardOneBackward, .dualPipe]
        let schedules = try kinds.map { try $0.schedule(ranks: 4, microBatches: 8) }
        let even = schedules.map { $0.simulate().makespan }
        #expect(even[0] - even[1] == 7)
        let measured = try schedules.map { try perform($0) }
        let planned = zip(schedules, measured).map { simulate($0, as: $1).makespan }
        let gain = measured[0].end - measured[1].end
        #expect(abs(gain - (planned[0] - planned[1])) < 0.1 * planned[0])
    }

    /// The plan with the measured time of every step.
    private func simulate(_ schedule: Schedule, as timeline: Timeline) -> Simulation {
        schedule.simulate(communication: 0) { rank, step in
            timeline.entries.first {
                $0.rank == rank && $0.label == "\(step)"
                    && $0.isSecondDirection == schedule.isSecondDirection(step)
            }.map { $0.end - $0.start } ?? 0
        }
    }

    private func perform(_ schedule: Schedule) throws -> Timeline {
        let fabrics = try makeLoopbackFabrics(rankCount: schedule.rankCount)
        let entries = Mutex<[TimelineEntry]>([])
        let failure = Mutex<(any Error)?>(nil)
        let group = DispatchGroup()
        for fabric in fabrics {
            group.enter()
            let thread = Thread {
                do {
                    let channels = try Channels(
                        fabric: fabric, channelCount: ChannelLink.channelCount,
                        slotCount: ChannelLink.slotCount(schedule), maximumCount: 4)
                    let executor = Executor(
                        schedule: schedule, rank: fabric.rank, worker: SleepingWorker(),
                        link: ChannelLink(channels, schedule: schedule), clock: fabric.clock)
                    try fabric.barrier(deadline: Deadline(.seconds(10), "start"))
                    let own = try executor.run()
                    entries.withLock { $0 += own.filter { $0.lane == .compute } }
                    try fabric.barrier(deadline: Deadline(.seconds(30), "end"))
                } catch { failure.withLock { $0 = error } }
                fabric.close()
                group.leave()
            }
            thread.start()
        }
        group.wait()
        if let error = failure.withLock({ $0 }) { throw error }
        return Timeline.measured(
            title: "measured", rankCount: schedule.rankCount, entries.withLock { $0 })
    }
}

/// Takes as long as the published figures say, and hands on which cell it was.
private final class SleepingWorker: CellWorker {
    let boundary = (rows: 1, columns: 2)

    private func sleep() { Thread.sleep(forTimeInterval: ExecutorTests.unit) }

    private func mark(_ cell: Cell) -> Tensor {
        Tensor(
            rows: 1, columns: 2,
            values: [Float(cell.stage.rawValue), Float(cell.microBatch.rawValue)])
    }

    func forward(_ cell: Cell, input: Tensor?) -> [() throws -> Void] {
        if let input {
            #expect(
                input.values == mark(Cell(cell.stage.rawValue - 1, cell.microBatch.rawValue)).values
            )
        }
        return [{ [self] in sleep() }]
    }

    func output(of cell: Cell) -> Tensor { mark(cell) }

    func backward(_ cell: Cell, gradient: Tensor?) -> [() throws -> Void] {
        if let gradient {
            #expect(
                gradient.values
                    == mark(Cell(cell.stage.rawValue + 1, cell.microBatch.rawValue)).values)
        }
        return [{ [self] in sleep() }]
    }

    func inputGradient(of cell: Cell) -> Tensor { mark(cell) }

    func takeWeightGradients(of cell: Cell) -> [() -> Void] { [{ [self] in sleep() }] }

    func release(_ cell: Cell) {}
}

/// What happens in which order on one rank, without neighbours or time.
@Suite struct PairOrderTests {
    @Test func `what a pair makes leaves before its weight gradients`() throws {
        let journal = try perform(interleaves: true)
        // Parts take turns, and the output of the forward leaves as soon as it is made.
        #expect(
            journal.contains(
                "backward 0, forward 0, backward 1, send gradient, forward 1, send activation, "
                    + "weights, weights"))
    }

    @Test func `a pair makes weight gradients where it would wait, and all that wait before it`()
        throws
    {
        let forwards = try perform(interleaves: true) { $0.forwardTravels = true }
        #expect(
            forwards.contains(
                "backward 0, weights, forward 0, backward 1, send gradient, weights, forward 1, "
                    + "send activation"))
        let backwards = try perform(interleaves: true) { $0.backwardTravels = true }
        #expect(
            backwards.contains(
                "backward 0, forward 0, weights, backward 1, send gradient, forward 1, "
                    + "send activation, weights"))
    }

    @Test func `without turns a pair is a forward and then a backward`() throws {
        let journal = try perform(interleaves: false)
        #expect(!journal.contains("forward 0, backward 1"))
        #expect(journal.contains("forward 0, forward 1, backward 0, backward 1, weights"))
    }

    private func perform(interleaves: Bool, _ set: (Journal) -> Void = { _ in }) throws -> String {
        let schedule = try ScheduleKind.dualPipe.schedule(ranks: 4, microBatches: 8)
        let journal = Journal()
        set(journal)
        _ = try Executor(
            schedule: schedule, rank: 1, worker: journal, link: journal, clock: .system,
            interleaves: interleaves
        ).run()
        return journal.lines.joined(separator: ", ")
    }
}

/// Writes down what it is asked for.
private final class Journal: CellWorker, StageLink {
    var lines: [String] = []
    var forwardTravels = false
    var backwardTravels = false
    let boundary = (rows: 1, columns: 1)
    private let tensor = Tensor(rows: 1, columns: 1)

    private func parts(_ name: String) -> [() throws -> Void] {
        (0 ..< 2).map { index in { [self] in lines.append("\(name) \(index)") } }
    }

    func forward(_ cell: Cell, input: Tensor?) -> [() throws -> Void] { parts("forward") }
    func backward(_ cell: Cell, gradient: Tensor?) -> [() throws -> Void] { parts("backward") }
    func output(of cell: Cell) -> Tensor { tensor }
    func inputGradient(of cell: Cell) -> Tensor { tensor }
    func takeWeightGradients(of cell: Cell) -> [() -> Void] {
        [{ [self] in lines.append("weights") }]
    }
    func release(_ cell: Cell) {}
    func send(_ tensor: Tensor, _ transfer: Transfer) {
        lines.append("send \(transfer.content.rawValue)")
    }
    func receive(_ transfer: Transfer, into tensor: Tensor) {}
}
