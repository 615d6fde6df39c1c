import Dispatch
import Tensors
public import Topology

/// Performs the steps of one rank.
///
/// The one place where a schedule becomes work: compute steps call the worker, sends and receives
/// the link, and what a rank gives to itself (the turn of a V) stays here. Every compute step and
/// every wait is written down with its time.
public final class Executor {
    private let schedule: Schedule
    private let rank: Rank
    private let worker: any CellWorker
    private let link: any StageLink
    private var activations: [Cell: Tensor] = [:]
    private var gradients: [Cell: Tensor] = [:]
    private var waitingWeights: [Cell: [() -> Void]] = [:]
    private var entries: [TimelineEntry] = []

    /// Binds a rank's steps to its network and its neighbours.
    public init(
        schedule: Schedule, rank: Rank, worker: any CellWorker, link: any StageLink
    ) {
        self.schedule = schedule
        self.rank = rank
        self.worker = worker
        self.link = link
    }

    /// Performs every step in order.
    ///
    /// - Returns: What took how long, in seconds of this machine's monotonic clock.
    public func run() throws -> [TimelineEntry] {
        entries = []
        for step in schedule.steps[rank.rawValue] {
            let start = Self.seconds()
            try perform(step)
            entries.append(
                TimelineEntry(
                    rank: rank, step: step, start: start, end: Self.seconds(),
                    isSecondDirection: schedule.isSecondDirection(step)))
        }
        precondition(waitingWeights.isEmpty, "\(waitingWeights.count) weight gradients are left")
        activations = [:]
        gradients = [:]
        return entries
    }

    static func seconds() -> Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }

    private func perform(_ step: Step) throws {
        switch step {
        case .receive(let transfer):
            let (rows, columns) = worker.boundary
            let tensor = Tensor(rows: rows, columns: columns)
            try link.receive(transfer, into: tensor)
            keep(transfer.content, transfer.source, tensor)
        case .send(let transfer):
            guard let tensor = take(transfer.content, transfer.source) else {
                preconditionFailure("nothing to send: \(transfer)")
            }
            try link.send(tensor, transfer)
        case .forward(let cell):
            for part in try forwardParts(cell) { try part() }
            finishForward(cell)
        case .backward(let cell):
            for part in try backwardParts(cell) { try part() }
            finishBackward(cell)
            for work in worker.takeWeightGradients(of: cell) { work() }
        case .backwardInput(let cell):
            for part in try backwardParts(cell) { try part() }
            finishBackward(cell)
            waitingWeights[cell] = worker.takeWeightGradients(of: cell)
        case .backwardWeight(let cell):
            guard let works = waitingWeights.removeValue(forKey: cell) else {
                preconditionFailure("no weight gradients of \(cell) wait")
            }
            for work in works { work() }
        case .overlapped(let forward, let backward):
            try overlap(forward, backward)
        }
    }

    /// Takes the parts of a forward and a backward in turn: while one's all-to-all travels the
    /// other computes, weight gradients included (DeepSeek-V3 report, Figure 4).
    private func overlap(_ forward: Cell, _ backward: Cell) throws {
        let forwards = try forwardParts(forward)
        let backwards = try backwardParts(backward)
        for index in 0 ..< max(forwards.count, backwards.count) {
            if index < forwards.count { try forwards[index]() }
            if index < backwards.count {
                try backwards[index]()
                for work in worker.takeWeightGradients(of: backward) { work() }
            }
        }
        finishForward(forward)
        finishBackward(backward)
    }

    private func forwardParts(_ cell: Cell) throws -> [() throws -> Void] {
        var input: Tensor?
        if let previous = schedule.neighbour(of: cell, by: -1) {
            input = take(.activation, previous)
            precondition(input != nil, "the input of \(cell) is not here")
        }
        return try worker.forward(cell, input: input)
    }

    private func backwardParts(_ cell: Cell) throws -> [() throws -> Void] {
        var gradient: Tensor?
        if let next = schedule.neighbour(of: cell, by: 1) {
            gradient = take(.gradient, next)
            precondition(gradient != nil, "the gradient for \(cell) is not here")
        }
        return try worker.backward(cell, gradient: gradient)
    }

    private func finishForward(_ cell: Cell) {
        if schedule.neighbour(of: cell, by: 1) != nil {
            keep(.activation, cell, worker.output(of: cell))
        }
        if schedule.kind == .forwardOnly { worker.release(cell) }
    }

    private func finishBackward(_ cell: Cell) {
        if schedule.neighbour(of: cell, by: -1) != nil {
            keep(.gradient, cell, worker.inputGradient(of: cell))
        }
        worker.release(cell)
    }

    private func keep(_ content: Transfer.Content, _ source: Cell, _ tensor: Tensor) {
        if content == .activation {
            activations[source] = tensor
        } else {
            gradients[source] = tensor
        }
    }

    private func take(_ content: Transfer.Content, _ source: Cell) -> Tensor? {
        content == .activation
            ? activations.removeValue(forKey: source) : gradients.removeValue(forKey: source)
    }
}

extension Timeline {
    /// Sets measured entries of all ranks to begin at zero.
    public static func measured(title: String, rankCount: Int, _ entries: [TimelineEntry])
        -> Timeline
    {
        let start = entries.map(\.start).min() ?? 0
        return Timeline(
            title: title, rankCount: rankCount,
            entries: entries.map { $0.moved(by: -start) })
    }
}

extension TimelineEntry {
    func moved(by offset: Double) -> TimelineEntry {
        TimelineEntry(
            rank: rank, lane: lane, kind: kind, label: label, start: start + offset,
            end: end + offset, isSecondDirection: isSecondDirection)
    }
}
