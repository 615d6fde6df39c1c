import Foundation
import Synchronization

/// Traces that clients wait for. They end with the server, and with the client that asked.
final class TraceTasks: Sendable {
    private struct State {
        var tasks: [UInt64: Task<Data, any Error>] = [:]
        var last: UInt64 = 0
        var haveEnded = false
    }

    private let state = Mutex(State())

    /// Runs a trace in a task that `end` cancels.
    ///
    /// - Parameter started: Gets what cancels it too.
    /// - Throws: `TraceError.ended` once `end` was called, and what `body` throws.
    func run(
        _ body: @escaping @Sendable () async throws -> Data,
        started: (@escaping @Sendable () -> Void) -> Void
    ) async throws -> Data {
        let (number, task) = try state.withLock { state in
            guard !state.haveEnded else { throw TraceError.ended }
            state.last += 1
            let task = Task { try await body() }
            state.tasks[state.last] = task
            return (state.last, task)
        }
        defer { state.withLock { $0.tasks[number] = nil } }
        started { task.cancel() }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Ends those under way, and refuses later ones.
    func end() {
        let tasks = state.withLock { state in
            state.haveEnded = true
            return state.tasks.values.map { $0 }
        }
        for task in tasks { task.cancel() }
    }
}
