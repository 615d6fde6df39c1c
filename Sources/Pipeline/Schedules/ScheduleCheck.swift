import Topology

/// What is wrong with a schedule.
enum ScheduleFault: Error, Equatable, CustomStringConvertible {
    /// A cell runs on a rank that does not hold its stage.
    case misplaced(Cell, Rank)
    /// A piece of work is done this many times instead of once.
    case count(String, Cell, Int)
    /// A step comes before what it needs.
    case early(Step, Rank, needs: String)
    /// Ranks wait for each other; the first one that is stuck, and its step.
    case deadlock(Rank, Step)
    /// A rank holds more activations than the literature says.
    case memory(Rank, Int, limit: Int)
    /// Bytes were sent that nobody receives.
    case unreceived(Transfer)

    /// The fact, with the cell and the rank.
    public var description: String {
        switch self {
        case .misplaced(let cell, let rank): "\(cell) runs on \(rank), which lacks the stage"
        case .count(let work, let cell, let count): "\(work) of \(cell) is done \(count) times"
        case .early(let step, let rank, let needs): "\(step) on \(rank) comes before \(needs)"
        case .deadlock(let rank, let step): "\(rank) waits for ever at \(step)"
        case .memory(let rank, let held, let limit):
            "\(rank) holds \(held) activations: the published peak is \(limit)"
        case .unreceived(let transfer): "nobody receives \(transfer)"
        }
    }
}

extension Schedule {
    /// Proves that the schedule can be performed and is complete.
    ///
    /// Ranks are walked with blocking receives and sends that return at once. Proven: every
    /// micro-batch forwards, and unless the schedule is forward-only backwards, once per stage;
    /// inputs are there before they are used; nobody waits for ever; nothing is sent in vain; peak
    /// activations are within the published ones.
    public func check() throws {
        var walk = ScheduleWalk(self)
        try walk.run()
        try walk.checkComplete()
    }
}

/// The state of every cell while all ranks walk through their steps.
private struct ScheduleWalk {
    private let schedule: Schedule
    private var cursor: [Int]
    private var held: [Int]
    private var forwards: [UInt8]
    private var inputs: [UInt8]
    private var weights: [UInt8]
    /// Per content and cell: 0 absent, 1 under way, 2 received.
    private var transfers: [[UInt8]]

    init(_ schedule: Schedule) {
        self.schedule = schedule
        let cells = schedule.stageCount * schedule.microBatchCount
        cursor = Array(repeating: 0, count: schedule.rankCount)
        held = cursor
        forwards = Array(repeating: 0, count: cells)
        inputs = forwards
        weights = forwards
        transfers = [forwards, forwards]
    }

    private func index(_ cell: Cell) -> Int {
        cell.stage.rawValue * schedule.microBatchCount + cell.microBatch.rawValue
    }

    private func slot(_ content: Transfer.Content) -> Int { content == .activation ? 0 : 1 }

    mutating func run() throws(ScheduleFault) {
        var hasMoved = true
        while hasMoved {
            hasMoved = false
            for rank in 0 ..< schedule.rankCount {
                while cursor[rank] < schedule.steps[rank].count {
                    let step = schedule.steps[rank][cursor[rank]]
                    guard try perform(step, on: Rank(rawValue: rank)) else { break }
                    cursor[rank] += 1
                    hasMoved = true
                }
            }
        }
        let stuck = (0 ..< schedule.rankCount).filter { cursor[$0] < schedule.steps[$0].count }
        guard let first = stuck.first else { return }
        let rank = stuck.first { isWaitingInVain($0) } ?? first
        throw .deadlock(Rank(rawValue: rank), schedule.steps[rank][cursor[rank]])
    }

    /// Whether the transfer that a stuck rank waits for is in nobody's steps.
    private func isWaitingInVain(_ rank: Int) -> Bool {
        guard case .receive(let wanted) = schedule.steps[rank][cursor[rank]] else { return false }
        return !schedule.steps[wanted.peer.rawValue].contains { step in
            guard case .send(let sent) = step else { return false }
            return sent.source == wanted.source && sent.content == wanted.content
        }
    }

    /// Performs one step, or returns false where it must wait.
    private mutating func perform(_ step: Step, on rank: Rank) throws(ScheduleFault) -> Bool {
        switch step {
        case .receive(let transfer):
            let index = index(transfer.source)
            guard transfers[slot(transfer.content)][index] == 1 else { return false }
            transfers[slot(transfer.content)][index] = 2
            return true
        case .send(let transfer):
            let made = transfer.content == .activation ? forwards : inputs
            guard made[index(transfer.source)] == 1 else {
                throw .early(step, rank, needs: "its content is made")
            }
            transfers[slot(transfer.content)][index(transfer.source)] += 1
            return true
        default:
            if let cell = step.forwardCell { try forward(cell, step, rank) }
            if let cell = step.backwardCell { try input(cell, step, rank) }
            if let cell = step.weightCell { try weight(cell, step, rank) }
            return true
        }
    }

    private mutating func forward(_ cell: Cell, _ step: Step, _ rank: Rank) throws(ScheduleFault) {
        guard schedule.rank(of: cell) == rank else { throw .misplaced(cell, rank) }
        if let previous = schedule.neighbour(of: cell, by: -1) {
            try need(previous, .activation, done: forwards, step, rank)
        }
        forwards[index(cell)] += 1
        guard schedule.kind != .forwardOnly else { return }
        held[rank.rawValue] += 1
        let limit = schedule.publishedPeakActivations
        guard held[rank.rawValue] <= limit else {
            throw .memory(rank, held[rank.rawValue], limit: limit)
        }
    }

    private mutating func input(_ cell: Cell, _ step: Step, _ rank: Rank) throws(ScheduleFault) {
        guard schedule.rank(of: cell) == rank else { throw .misplaced(cell, rank) }
        guard forwards[index(cell)] == 1 else { throw .early(step, rank, needs: "its forward") }
        if let next = schedule.neighbour(of: cell, by: 1) {
            try need(next, .gradient, done: inputs, step, rank)
        }
        inputs[index(cell)] += 1
    }

    private mutating func weight(_ cell: Cell, _ step: Step, _ rank: Rank) throws(ScheduleFault) {
        guard inputs[index(cell)] == 1 else {
            throw .early(step, rank, needs: "its input gradient")
        }
        weights[index(cell)] += 1
        held[rank.rawValue] -= 1
    }

    /// A neighbour's result must have been made here, or received.
    private func need(
        _ source: Cell, _ content: Transfer.Content, done: [UInt8], _ step: Step, _ rank: Rank
    ) throws(ScheduleFault) {
        let isLocal = schedule.rank(of: source) == rank
        let isHere =
            isLocal ? done[index(source)] == 1 : transfers[slot(content)][index(source)] == 2
        guard isHere else { throw .early(step, rank, needs: "the \(content.rawValue) it uses") }
    }

    func checkComplete() throws(ScheduleFault) {
        let expected: UInt8 = schedule.kind == .forwardOnly ? 0 : 1
        for stage in 0 ..< schedule.stageCount {
            for microBatch in 0 ..< schedule.microBatchCount {
                let cell = Cell(stage, microBatch)
                let index = index(cell)
                guard forwards[index] == 1 else {
                    throw .count("forward", cell, Int(forwards[index]))
                }
                guard inputs[index] == expected else {
                    throw .count("backward", cell, Int(inputs[index]))
                }
                guard weights[index] == expected else {
                    throw .count("weight gradient", cell, Int(weights[index]))
                }
                for content in [Transfer.Content.activation, .gradient]
                where transfers[slot(content)][index] == 1 {
                    throw .unreceived(
                        Transfer(content: content, source: cell, peer: schedule.rank(of: cell)))
                }
            }
        }
    }
}
