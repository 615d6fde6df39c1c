import Collectives
import Pipeline
import Tensors

/// Runs a rank's cells and writes down what they do.
///
/// Times are processor time of the rank's thread, so ranks that share cores do not measure each
/// other. What a call of an exchange itself takes is left out.
final class StepRecorder: CellWorker {
    private let worker: StageWorker
    private let groups: [ExpertParallelGroup]
    private(set) var recording = StepRecording()
    private var events: [StepRecording.Event] = []
    private var since = 0.0
    /// Weight gradients of the backward under way, with the part that left each.
    private var waiting: [(cell: Cell, part: Int, work: () -> Void)] = []

    init(_ worker: StageWorker, groups: [ExpertParallelGroup]) {
        self.worker = worker
        self.groups = groups
        for (index, group) in groups.enumerated() {
            group.watcher = { [unowned self] in note($0, of: index) }
        }
    }

    /// Stops watching.
    func finish() -> StepRecording {
        for group in groups { group.watcher = nil }
        return recording
    }

    private func note(_ event: ExchangeEvent, of group: Int) {
        if event.isBegin {
            events.append(.compute(seconds: ThreadClock.seconds - since))
        } else {
            events.append(
                .call(
                    event.call, group: group, sequence: event.sequence, event.layout,
                    event.weighting))
            since = ThreadClock.seconds
        }
    }

    private func recorded(_ part: () throws -> Void) rethrows -> [StepRecording.Event] {
        events = []
        since = ThreadClock.seconds
        try part()
        events.append(.compute(seconds: ThreadClock.seconds - since))
        return events
    }

    func forward(_ cell: Cell, input: Tensor?) throws -> [() throws -> Void] {
        // The first part of a stage without input embeds its tokens here, before any part runs.
        var parts: [() throws -> Void] = []
        let made = try recorded { parts = try worker.forward(cell, input: input) }
        recording.cells[cell, default: StepRecording.CellRecord()].forward = []
        return parts.enumerated().map { index, part in
            { [self] in
                let events = try recorded(part)
                recording.cells[cell]?.forward.append(index == 0 ? made + events : events)
            }
        }
    }

    func output(of cell: Cell) -> Tensor { worker.output(of: cell) }

    func backward(_ cell: Cell, gradient: Tensor?) throws -> [() throws -> Void] {
        let parts = try worker.backward(cell, gradient: gradient)
        recording.cells[cell]?.weights = Array(repeating: [], count: parts.count)
        return parts.enumerated().map { index, part in
            { [self] in
                let events = try recorded(part)
                recording.cells[cell]?.backward.append(events)
                waiting += worker.takeWeightGradients(of: cell).map { (cell, index, $0) }
            }
        }
    }

    func inputGradient(of cell: Cell) -> Tensor { worker.inputGradient(of: cell) }

    func takeWeightGradients(of cell: Cell) -> [() -> Void] {
        defer { waiting = [] }
        return waiting.map { item in
            { [self] in
                let begin = ThreadClock.seconds
                item.work()
                recording.cells[item.cell]?.weights[item.part].append(ThreadClock.seconds - begin)
            }
        }
    }

    func advance() throws { try worker.advance() }

    var forwardTravels: Bool { worker.forwardTravels }

    var backwardTravels: Bool { worker.backwardTravels }

    func release(_ cell: Cell) { worker.release(cell) }

    var boundary: (rows: Int, columns: Int) { worker.boundary }
}
