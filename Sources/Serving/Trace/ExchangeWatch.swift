package import Collectives

/// Notes the exchanges of a group for a rank's recorder.
///
/// Belongs to the thread that uses the group.
final class ExchangeWatch {
    private let recorder: RankRecorder
    /// When the tokens of an exchange had come whose experts have not computed yet. Two exchanges
    /// are open at most.
    private var received: [(sequence: UInt64, at: UInt64)] = []

    init(_ recorder: RankRecorder) { self.recorder = recorder }

    /// Takes in the begin or the end of a call, and what the group has recorded last.
    func note(_ event: ExchangeEvent, _ record: @autoclosure () -> ExchangeRecord?) {
        switch (event.call, event.isBegin) {
        case (.dispatch, true):
            recorder.mark(.dispatchBegan, number: event.sequence, rows: event.layout.tokenCount)
        case (.receive, false):
            guard let record = record() else { return }
            note(record, .dispatch, rows: event.layout.tokenCount)
            received.append((event.sequence, record.ended))
            if received.count > 2 { received.removeFirst() }
        case (.combine, true):
            if let index = received.firstIndex(where: { $0.sequence == event.sequence }) {
                let began = received.remove(at: index).at
                if recorder.isRecording { recorder.span(.experts, since: began) }
            }
            recorder.mark(.combineBegan, number: event.sequence)
        case (.finish, false):
            if let record = record() {
                note(record, .combine, rows: event.layout.tokenCount)
            }
        default: break
        }
    }

    private func note(_ record: ExchangeRecord, _ kind: RankEvent.Kind, rows: Int) {
        recorder.add(
            RankEvent(
                kind: kind, began: record.began, ended: max(record.began, record.arrived),
                number: record.sequence, rows: rows), place: record.lastAwaited)
        guard !record.waits.isEmpty, recorder.isRecording else { return }
        for wait in record.waits {
            recorder.add(
                RankEvent(
                    kind: .exposed, began: wait.lowerBound, ended: wait.upperBound,
                    number: record.sequence), place: record.lastAwaited)
        }
    }
}

extension RankRecorder {
    /// Notes the exchanges of a group from now on.
    package func watch(_ group: ExpertParallelGroup) {
        let watch = ExchangeWatch(self)
        group.watcher = { [unowned group] in watch.note($0, group.records.last) }
    }
}
