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
    private var open: [ExchangeID: OpenExchange] = [:]
    private var waitingWeights: [Double] = []
    /// What the last sleep took more than it should; the next one takes less.
    private var late = 0.0

    private struct ExchangeID: Hashable {
        let group: Int
        let sequence: UInt64
    }

    /// An exchange under way.
    private final class OpenExchange {
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
                    call, ExchangeID(group: group, sequence: sequence), layout, weighting)
            }
        }
    }

    private func perform(
        _ call: ExchangeEvent.Call, _ id: ExchangeID, _ layout: DispatchLayout,
        _ weighting: Weighting
    ) throws {
        let group = groups[id.group]
        let exchange = open[id] ?? OpenExchange()
        open[id] = exchange
        switch call {
        case .dispatch: exchange.dispatching = try group.dispatch(zeros, layout: layout)
        case .receive:
            guard let dispatching = exchange.dispatching.take() else { return missing(call, id) }
            exchange.received = try dispatching.wait()
        case .combine:
            guard let received = exchange.received.take() else { return missing(call, id) }
            let count = received.rowCount
            exchange.combining = try group.combine(
                Tensor(rows: count, columns: boundary.columns), for: received,
                weighting: weighting, scalars: Array(repeating: 0, count: count))
        case .finish:
            guard let combining = exchange.combining.take() else { return missing(call, id) }
            try combining.wait(addingInto: zeros)
            open[id] = nil
        }
    }

    private func missing(_ call: ExchangeEvent.Call, _ id: ExchangeID) {
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
