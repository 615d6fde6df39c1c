public import Topology

/// A schedule performed in imagined time.
public struct Simulation: Sendable {
    /// When the last rank is done.
    public let makespan: Double
    /// Per rank, time in which it computes nothing.
    public let bubbles: [Double]
    /// Per rank, the most cells whose activations it holds at once, from a cell's forward to the
    /// end of its weight gradients.
    public let peakActivations: [Int]
    /// What happened when.
    public let timeline: Timeline
}

extension Schedule {
    /// Performs the schedule with the given costs.
    public func simulate(_ costs: StepCosts = StepCosts()) -> Simulation {
        simulate(communication: costs.communication) { costs.duration(of: $1) }
    }

    /// Performs the schedule with a duration for each rank and step, as a measured run gives them.
    ///
    /// - Parameter lead: How long before the end of an overlapped pair what it makes leaves.
    public func simulate(
        communication: Double, lead: (Rank, Step, Transfer.Content) -> Double = { _, _, _ in 0 },
        duration: (Rank, Step) -> Double
    ) -> Simulation {
        var clock = EventClock(self, communication: communication)
        clock.run(duration, lead)
        return clock.result()
    }
}

/// Where every rank stands, and when every transfer was sent.
private struct EventClock {
    private let schedule: Schedule
    private let communication: Double
    private var cursor: [Int]
    private var now: [Double]
    private var busy: [Double]
    private var held: [Int]
    private var peak: [Int]
    private var sent: [[Double?]]
    /// Per rank, the pair whose sends come next.
    private var pair: [Step?]
    private var entries: [TimelineEntry] = []

    init(_ schedule: Schedule, communication: Double) {
        self.schedule = schedule
        self.communication = communication
        cursor = Array(repeating: 0, count: schedule.rankCount)
        held = cursor
        peak = cursor
        now = Array(repeating: 0, count: schedule.rankCount)
        busy = now
        pair = Array(repeating: nil, count: schedule.rankCount)
        let cells = schedule.stageCount * schedule.microBatchCount
        sent = Array(repeating: Array(repeating: nil, count: cells), count: 2)
    }

    mutating func run(
        _ duration: (Rank, Step) -> Double, _ lead: (Rank, Step, Transfer.Content) -> Double
    ) {
        var hasMoved = true
        while hasMoved {
            hasMoved = false
            for rank in 0 ..< schedule.rankCount {
                while cursor[rank] < schedule.steps[rank].count,
                    perform(schedule.steps[rank][cursor[rank]], rank, duration, lead)
                {
                    cursor[rank] += 1
                    hasMoved = true
                }
            }
        }
        for rank in 0 ..< schedule.rankCount {
            precondition(
                cursor[rank] == schedule.steps[rank].count,
                "rank \(rank) waits for ever at step \(cursor[rank])")
        }
    }

    private func place(_ transfer: Transfer) -> (Int, Int) {
        let source = transfer.source
        return (
            transfer.content == .activation ? 0 : 1,
            source.stage.rawValue * schedule.microBatchCount + source.microBatch.rawValue
        )
    }

    private mutating func perform(
        _ step: Step, _ rank: Int, _ duration: (Rank, Step) -> Double,
        _ lead: (Rank, Step, Transfer.Content) -> Double
    ) -> Bool {
        switch step {
        case .send(let transfer):
            let (content, index) = place(transfer)
            let early = pair[rank].map { lead(Rank(rawValue: rank), $0, transfer.content) } ?? 0
            sent[content][index] = now[rank] - early
        case .receive(let transfer):
            let (content, index) = place(transfer)
            guard let start = sent[content][index] else { return false }
            let arrival = start + communication
            if communication > 0 {
                entries.append(
                    TimelineEntry(
                        rank: Rank(rawValue: rank), lane: .communication, kind: .transfer,
                        label: "\(step)", start: start, end: arrival))
            }
            let exposedFrom = max(now[rank], start)
            if arrival > exposedFrom {
                entries.append(
                    TimelineEntry(
                        rank: Rank(rawValue: rank), lane: .communication, kind: .exposed,
                        label: "exposed", start: exposedFrom, end: arrival))
            }
            now[rank] = max(now[rank], arrival)
            pair[rank] = nil
        default:
            if case .overlapped = step { pair[rank] = step } else { pair[rank] = nil }
            let length = duration(Rank(rawValue: rank), step)
            entries.append(
                TimelineEntry(
                    rank: Rank(rawValue: rank), step: step, start: now[rank],
                    end: now[rank] + length,
                    isSecondDirection: schedule.isSecondDirection(step)))
            now[rank] += length
            busy[rank] += length
            if step.forwardCell != nil && schedule.kind != .forwardOnly {
                held[rank] += 1
                peak[rank] = max(peak[rank], held[rank])
            }
            if step.weightCell != nil { held[rank] -= 1 }
        }
        return true
    }

    func result() -> Simulation {
        let makespan = now.max() ?? 0
        return Simulation(
            makespan: makespan, bubbles: busy.map { makespan - $0 }, peakActivations: peak,
            timeline: Timeline(
                title: "\(schedule.kind.title), planned", rankCount: schedule.rankCount,
                entries: entries))
    }
}

extension Schedule {
    /// Whether a step's forward (or else backward) belongs to the direction drawn second.
    public func isSecondDirection(_ step: Step) -> Bool {
        guard let cell = step.forwardCell ?? step.backwardCell ?? step.weightCell else {
            return false
        }
        switch placement {
        case .line: return false
        case .vee: return cell.stage.rawValue >= rankCount
        case .bidirectional: return cell.microBatch.rawValue >= microBatchCount / 2
        }
    }
}
