import Foundation
import Synchronization

/// What the access log says of one request.
final class RequestRecord: Sendable {
    /// What is known of the answer so far.
    private struct Answer {
        var status: Int?
        var bytes = 0
        var promptTokens: Int?
        var generatedTokens = 0
        var key: String?
    }

    let method: String
    let path: String
    private let date = Date()
    private let start = ContinuousClock.now
    private let answer = Mutex(Answer())

    init(method: String, path: String) {
        self.method = method
        self.path = path
    }

    func answered(status: Int) { answer.withLock { $0.status = status } }

    /// Notes the name of the key that the request came with.
    func came(with key: String) { answer.withLock { $0.key = key } }

    func wrote(bytes: Int) { answer.withLock { $0.bytes += bytes } }

    /// Notes what the texts of the request cost so far.
    func cost(prompts: [Int], _ usages: [GenerationUsage]) {
        answer.withLock {
            $0.promptTokens = prompts.reduce(0, +)
            $0.generatedTokens = usages.reduce(0) { $0 + $1.generatedTokens }
        }
    }

    /// The line of the log.
    ///
    /// - Parameter status: Of a request whose answer never began.
    func line(from address: String, otherwise status: Int) -> String {
        let answer = answer.withLock { $0 }
        let seconds = start.duration(to: .now).seconds
        let tokens = answer.promptTokens.map { "\($0) \(answer.generatedTokens)" } ?? "- -"
        return "\(Self.time(date)) \(address) \(AccessLog.escaped(method)) "
            + "\(AccessLog.escaped(path)) \(answer.status ?? status) \(answer.bytes) "
            + "\(String(format: "%.3f", seconds)) \(tokens) \(answer.key ?? "-")\n"
    }

    private static func time(_ date: Date) -> String {
        date.formatted(
            .iso8601.year().month().day().timeZone(separator: .omitted)
                .time(includingFractionalSeconds: true))
    }
}
