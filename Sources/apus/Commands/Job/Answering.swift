import Benchmarks
import Cluster
import Foundation
import Serving

/// Asks a job that has just begun to serve one question, and prints the answer as it arrives.
struct Answering: Sendable {
    /// An answer long enough to read and short enough to wait for.
    private static let maximumTokens = 200

    let screen: JobScreen
    let endpoint: Endpoint

    /// Streams the answer beside the job, which goes on meanwhile.
    func start(_ question: String) {
        Task {
            screen.hold()
            screen.stream("\n> \(question)\n\n")
            do {
                let cost = try await ChatQuestion(host: endpoint.address, port: endpoint.port)
                    .ask(question, maximumTokens: Self.maximumTokens) { screen.stream($0) }
                screen.stream("\n\n\(summary(cost))\n")
            } catch {
                screen.stream("\napus: \(error)\n")
            }
            screen.stream("serving on \(endpoint.url("/v1")) until Ctrl-C\n\n")
            screen.release()
        }
    }

    private func summary(_ cost: ChatQuestion.Cost) -> String {
        let rate = String(format: "%.1f", cost.tokensPerSecond)
        let first = String(format: "%.1f", cost.firstToken * 1000)
        let share = String(format: "%.0f", cost.allToAllShare * 100)
        let hidden = String(format: "%.0f", cost.hiddenShare * 100)
        return """
            \(cost.tokens) tokens, \(rate) tokens/s, first token after \(first) ms; \
            all-to-all \(share)% of step time, \(hidden)% of it hidden
            """
    }
}
