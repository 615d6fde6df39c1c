import Cluster
import Foundation
import Synchronization

/// A job that serves while a benchmark asks it, and leaves nothing behind.
final class BackgroundJob: Sendable {
    private struct State {
        var outcome: Result<Endpoint, any Error>?
        var waiting: CheckedContinuation<Endpoint, any Error>?
        var snapshot: JobSnapshot?
        var hasEnded = false
    }

    private let folder: JobFolder
    private let stopFlag = StopFlag()
    private let state = Mutex(State())
    private let ended = DispatchSemaphore(value: 0)

    /// Starts a job, on any free port.
    init(_ job: JobConfiguration) throws {
        var served = job
        served.http.port = 0
        let launcher = Handover(try Launcher(served))
        folder = launcher.value.folder
        let thread = Thread { [self] in
            defer {
                state.withLock { $0.hasEnded = true }
                ended.signal()
            }
            do {
                let display = Launcher.Display(
                    snapshot: { snapshot in self.state.withLock { $0.snapshot = snapshot } },
                    ready: { self.settle(.success($0)) }, told: { _ in })
                try launcher.value.run(stop: stopFlag, display: display)
                settle(.failure(ClusterError.command("job \(job.name) ended too early")))
            } catch { settle(.failure(error)) }
        }
        thread.stackSize = 8 << 20
        thread.start()
    }

    /// Whether the launcher has ended, so that no process of the job is left.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// The process of the coordinator that listens; nil while none does.
    var coordinator: Int32? { hasEnded ? nil : (try? folder.endpoints())?.process }

    /// The job as its coordinator last told.
    var snapshot: JobSnapshot? { state.withLock { $0.snapshot } }

    /// Where it serves, once it does.
    func endpoint() async throws -> Endpoint {
        try await withCheckedThrowingContinuation { continuation in
            let outcome = state.withLock { state in
                if state.outcome == nil { state.waiting = continuation }
                return state.outcome
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    /// Ends the job, and returns when its processes are gone.
    func stop() {
        stopFlag.raise(SIGTERM)
        ended.wait()
    }

    /// The first outcome counts.
    private func settle(_ outcome: Result<Endpoint, any Error>) {
        let waiting = state.withLock { state in
            guard state.outcome == nil else {
                return nil as CheckedContinuation<Endpoint, any Error>?
            }
            state.outcome = outcome
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(with: outcome)
    }

    /// Safe because: one thread makes the launcher, and one other uses it from then on.
    private final class Handover: @unchecked Sendable {
        let value: Launcher

        init(_ value: Launcher) { self.value = value }
    }
}
