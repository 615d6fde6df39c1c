import Collectives
import Foundation
import Pipeline
import Tensors

/// Does a recorded step again with sleep in place of computation: every exchange and every transfer
/// moves its bytes, while the cores are free as if each rank had its own.
///
/// For machines with more ranks than cores. Rows are zeros: nothing is learned.
final class StepReplayer: CellWorker {
    private let recording: StepRecording
    private let groups: [ExpertParallelGroup]
    /// What recorded times are multiplied by.
    var scale = 1.0
    let boundary: (rows: Int, columns: Int)
    private let zeros: Tensor
    private var flights: [FlightID: Flight] = [:]
    private var waitingWeights: [Double] = []
    /// What the last sleep took more than it should; the next one takes less.
    private var late = 0.0

    private struct FlightID: Hashable {
        let group: Int
        let sequence: UInt64
    }

    /// An exchange under way.
    private final class Flight {
        var dispatching: DispatchInFlight?
        var received: ReceivedTokens?
        var combining: CombineInFlight?
    }

    init(
        _ recording: StepRecording, groups: [ExpertParallelGroup],
        boundary: (rows: Int, columns: Int)
    ) {
        self.recording = recording
        self.groups = groups
        self.boundary = boundary
        zeros = Tensor(rows: boundary.rows, columns: boundary.columns)
    }

    private func record(_ cell: Cell) -> StepRecording.CellRecord {
        guard let record = recording.cells[cell] else {
            preconditionFailure("\(cell) was not recorded")
        }
        return record
    }

    private func sleep(_ seconds: Double) {
        let wanted = seconds * scale - late
        guard wanted > 0 else {
            late = -wanted
            return
        }
        let begin = DispatchTime.now().uptimeNanoseconds
        Thread.sleep(forTimeInterval: wanted)
        late = Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9 - wanted
    }

    private func play(_ events: [StepRecording.Event]) throws {
        for event in events {
            switch event {
            case .compute(let seconds): sleep(seconds)
            case .call(let call, let group, let sequence, let layout, let weighting):
                try perform(
                    call, FlightID(group: group, sequence: sequence), layout, weighting)
            }
        }
    }

    private func perform(
        _ call: ExchangeEvent.Call, _ id: FlightID, _ layout: DispatchLayout,
        _ weighting: Weighting
    ) throws {
        let group = groups[id.group]
        let flight = flights[id] ?? Flight()
        flights[id] = flight
        switch call {
        case .dispatch: flight.dispatching = try group.dispatch(zeros, layout: layout)
        case .receive:
            guard let dispatching = flight.dispatching.take() else { return missing(call, id) }
            flight.received = try dispatching.wait()
        case .combine:
            guard let received = flight.received.take() else { return missing(call, id) }
            let count = received.rowCount
            flight.combining = try group.combine(
                Tensor(rows: count, columns: boundary.columns), for: received,
                weighting: weighting, scalars: Array(repeating: 0, count: count))
        case .finish:
            guard let combining = flight.combining.take() else { return missing(call, id) }
            try combining.wait(addingInto: zeros)
            flights[id] = nil
        }
    }

    private func missing(_ call: ExchangeEvent.Call, _ id: FlightID) {
        preconditionFailure("\(call) of exchange \(id) before its start")
    }

    func forward(_ cell: Cell, input: Tensor?) -> [() throws -> Void] {
        record(cell).forward.map { events in { [self] in try play(events) } }
    }

    func output(of cell: Cell) -> Tensor { zeros }

    func backward(_ cell: Cell, gradient: Tensor?) -> [() throws -> Void] {
        let record = record(cell)
        return record.backward.enumerated().map { index, events in
            { [self] in
                try play(events)
                waitingWeights += record.weights[index]
            }
        }
    }

    func inputGradient(of cell: Cell) -> Tensor { zeros }

    func takeWeightGradients(of cell: Cell) -> [() -> Void] {
        defer { waitingWeights = [] }
        return waitingWeights.map { seconds in { [self] in sleep(seconds) } }
    }

    func advance() throws { for group in groups { try group.advance() } }

    var forwardTravels: Bool { groups.first?.isTravelling ?? false }

    var backwardTravels: Bool { groups.last?.isTravelling ?? false }

    func release(_ cell: Cell) {}
}
