import Foundation
import Synchronization

/// What a host answered to questions about itself.
struct HostAnswers: Sendable {
    /// Facts of the host.
    private(set) var survey: HostSurvey?
    /// Seconds by which its clock is ahead, and how far off that may be.
    private(set) var clock: (offset: Double, error: Double)?
    /// Where it listens for probes, or why it does not.
    private(set) var listener: (port: Int, failure: String)?
    /// The last link that it measured.
    private(set) var measurement: LinkMeasurement?
    private var askedTime = Date()

    /// Notes that a question is on its way, whose former answer is forgotten.
    mutating func asked(_ frame: HostFrame) {
        switch frame {
        case .clock: askedTime = Date()
        case .survey: survey = nil
        case .measure: measurement = nil
        default: return
        }
    }

    /// Takes an answer in.
    mutating func take(_ frame: HostFrame) {
        switch frame {
        case .surveyed(let facts): survey = facts
        case .time(let seconds):
            // The host read its clock between the question and now.
            let way = Date().timeIntervalSince(askedTime) / 2
            let offset = seconds - (askedTime.timeIntervalSince1970 + way)
            if clock.map({ way < $0.error }) ?? true { clock = (offset, way) }
        case .listening(let port, let failure): listener = (port, failure)
        case .measured(let link): measurement = link
        default: return
        }
    }
}

extension HostConnection {
    /// Asks the host about itself; what it answers stands in `answers`.
    func ask(_ frame: HostFrame) {
        state.withLock { $0.answers.asked(frame) }
        send(frame)
    }

    /// Why the host cannot go on, in its own words.
    var failure: String? { state.withLock { $0.failure.map { "\(name): \($0)" } } }

    /// What the host answered so far.
    var answers: HostAnswers { state.withLock { $0.answers } }

    /// The host with what it said, for rules.
    var checked: CheckedHost {
        let answers = answers
        var result = CheckedHost(name: host.name, ranks: ranks, survey: answers.survey)
        result.clockOffset = answers.clock?.offset
        result.clockError = answers.clock?.error
        return result
    }
}
