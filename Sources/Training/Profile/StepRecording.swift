import Collectives
import Pipeline
import Tensors

/// What one step of one rank computed and sent, part by part: enough to do it again without the
/// computation.
struct StepRecording {
    /// One thing that a part does.
    enum Event {
        /// Processor time of computation.
        case compute(seconds: Double)
        /// A call of an exchange: the group's index among the rank's, the exchange's number in it.
        case call(ExchangeEvent.Call, group: Int, sequence: UInt64, DispatchLayout, Weighting)
    }

    /// The parts of one micro-batch on one stage.
    struct CellRecord {
        var forward: [[Event]] = []
        var backward: [[Event]] = []
        /// Per part of the backward, processor time of each of the weight gradients that it left.
        var weights: [[Double]] = []
    }

    var cells: [Cell: CellRecord] = [:]

    /// Processor time of the whole step.
    var computeSeconds: Double {
        cells.values.reduce(0) { sum, cell in
            let parts = (cell.forward + cell.backward).flatMap { $0 }
            let computed = parts.reduce(0.0) { total, event in
                if case .compute(let seconds) = event { return total + seconds }
                return total
            }
            return sum + computed + cell.weights.joined().reduce(0, +)
        }
    }
}

extension StepRecording {
    /// One step from several recordings of the same: of every time the middle one, so that what
    /// else the machine did during one of them does not make a rank slower than its peers.
    static func middle(of recordings: [StepRecording]) -> StepRecording {
        var result = recordings[0]
        func middle(_ time: (StepRecording) -> Double) -> Double {
            recordings.map(time).sorted()[recordings.count / 2]
        }
        func middle(_ part: [Event], _ same: (StepRecording) -> [Event]) -> [Event] {
            part.indices.map { index in
                guard case .compute = part[index] else { return part[index] }
                return .compute(seconds: middle { same($0)[index].seconds })
            }
        }
        for (cell, record) in result.cells {
            func other(_ recording: StepRecording) -> CellRecord { recording.cells[cell] ?? record }
            for index in record.forward.indices {
                result.cells[cell]?.forward[index] = middle(record.forward[index]) {
                    other($0).forward[index]
                }
            }
            for index in record.backward.indices {
                result.cells[cell]?.backward[index] = middle(record.backward[index]) {
                    other($0).backward[index]
                }
                for work in record.weights[index].indices {
                    result.cells[cell]?.weights[index][work] = middle {
                        other($0).weights[index][work]
                    }
                }
            }
        }
        return result
    }
}

extension StepRecording.Event {
    /// Processor time; 0 for a call.
    var seconds: Double {
        if case .compute(let seconds) = self { seconds } else { 0 }
    }
}
