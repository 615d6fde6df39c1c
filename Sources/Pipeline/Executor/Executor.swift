import Tensors
public import Topology
public import Transport

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
    private let clock: FabricClock
    private var activations: [Cell: Tensor] = [:]
    private var gradients: [Cell: Tensor] = [:]
    private var waitingWeights: [Cell: [() -> Void]] = [:]
    private var entries: [TimelineEntry] = []
    private let interleaves: Bool
    /// Sends that left in the middle of the pair before them.
    private var sentEarly: Set<Transfer> = []

    /// Binds a rank's steps to its network and its neighbours.
    ///
    /// - Parameters:
    ///   - clock: The clock of the timeline: that of the fabric which the link uses.
    ///   - interleaves: Whether an overlapped pair takes its parts in turn; without, the forward
    ///     runs before the backward and nothing hides an all-to-all: what it costs alone.
    public init(
        schedule: Schedule, rank: Rank, worker: any CellWorker, link: any StageLink,
        clock: FabricClock, interleaves: Bool = true
    ) {
        self.schedule = schedule
        self.rank = rank
        self.worker = worker
        self.link = link
        self.clock = clock
        self.interleaves = interleaves
    }

    /// Performs every step in order.
    ///
    /// - Returns: What took how long, in seconds of the clock.
    public func run() throws -> [TimelineEntry] {
        entries = []
        sentEarly = []
        let steps = schedule.steps[rank.rawValue]
        for (index, step) in steps.enumerated() {
            let start = seconds
            switch step {
            case .overlapped(let forward, let backward):
                try overlap(forward, backward, sends: Self.sends(in: steps, after: index))
            case .send(let transfer) where sentEarly.remove(transfer) != nil: continue
            default: try perform(step)
            }
            note(step, since: start)
        }
        precondition(waitingWeights.isEmpty, "\(waitingWeights.count) weight gradients are left")
        activations = [:]
        gradients = [:]
        return entries
    }

    private func note(_ step: Step, since start: Double) {
        entries.append(
            TimelineEntry(
                rank: rank, step: step, start: start, end: seconds,
                isSecondDirection: schedule.isSecondDirection(step)))
    }

    private var seconds: Double { Double(clock.nanoseconds) / 1e9 }

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
            try run(forwardParts(cell))
            finishForward(cell)
        case .backward(let cell):
            try run(backwardParts(cell))
            finishBackward(cell)
            try run(worker.takeWeightGradients(of: cell))
        case .backwardInput(let cell):
            try run(backwardParts(cell))
            finishBackward(cell)
            waitingWeights[cell] = worker.takeWeightGradients(of: cell)
        case .backwardWeight(let cell):
            guard let works = waitingWeights.removeValue(forKey: cell) else {
                preconditionFailure("no weight gradients of \(cell) wait")
            }
            try run(works)
        case .overlapped: preconditionFailure("a pair is run with its sends")
        }
    }

    private func run(_ pieces: [() throws -> Void]) throws {
        for piece in pieces {
            try piece()
            try worker.advance()
        }
    }

    /// Takes the parts of a forward and a backward in turn: while one's all-to-all travels the
    /// other computes, and what goes to a neighbour leaves as soon as it is made (DeepSeek-V3
    /// report, Figure 4).
    ///
    /// The backward goes first: its first part only starts a travel, which the forward's attention
    /// hides, and its last one computes while the forward's last travel returns. Nothing waits
    /// for weight gradients, so they are what a rank does where it would wait, oldest first.
    private func overlap(_ forward: Cell, _ backward: Cell, sends: [Transfer]) throws {
        let forwards = try forwardParts(forward)
        guard interleaves else {
            try run(forwards)
            finishForward(forward)
            return try perform(.backward(backward))
        }
        let backwards = try backwardParts(backward)
        var weights: [() -> Void] = []
        var done = 0
        func hide(_ travels: () -> Bool) throws {
            while done < weights.count, travels() {
                try run([weights[done]])
                done += 1
            }
        }
        for index in 0 ..< max(forwards.count, backwards.count) {
            if index < backwards.count {
                try hide { worker.backwardTravels }
                try run([backwards[index]])
                weights += worker.takeWeightGradients(of: backward)
                if index + 1 == backwards.count {
                    finishBackward(backward)
                    try send(sends, .gradient)
                }
            }
            if index < forwards.count {
                try hide { worker.forwardTravels }
                try run([forwards[index]])
                if index + 1 == forwards.count {
                    finishForward(forward)
                    try send(sends, .activation)
                }
            }
        }
        try hide { true }
    }

    private func send(_ transfers: [Transfer], _ content: Transfer.Content) throws {
        for transfer in transfers where transfer.content == content {
            let start = seconds
            try perform(.send(transfer))
            note(.send(transfer), since: start)
            sentEarly.insert(transfer)
        }
    }

    /// The sends that directly follow a step.
    private static func sends(in steps: [Step], after index: Int) -> [Transfer] {
        steps[(index + 1)...].prefix { !$0.isCompute }.compactMap { step in
            if case .send(let transfer) = step { transfer } else { nil }
        }
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
    /// The same work at another time.
    package func moved(by offset: Double) -> TimelineEntry {
        TimelineEntry(
            rank: rank, lane: lane, kind: kind, label: label, start: start + offset,
            end: end + offset, isSecondDirection: isSecondDirection)
    }

    /// The same work under the rank's number among all ranks.
    package func of(_ rank: Rank) -> TimelineEntry {
        TimelineEntry(
            rank: rank, lane: lane, kind: kind, label: label, start: start, end: end,
            isSecondDirection: isSecondDirection)
    }
}
