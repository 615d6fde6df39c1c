import Cluster
import Glibc
import Synchronization

/// Shows a job: a table that is redrawn on a terminal, lines of what changed elsewhere.
///
/// A screen that cannot be written to asks for the end of the job.
final class JobScreen: Sendable {
    private struct State {
        var table = JobTable()
        var drawnLines = 0
        var drawnAt = ContinuousClock.now - .seconds(1)
        /// While an answer streams, nothing else is written.
        var isHeld = false
        var failure: StreamError?
    }

    private let isTerminal: Bool
    private let stop: StopFlag
    private let state = Mutex(State())

    /// - Parameter stop: Raised when the screen takes no more.
    init(isTerminal: Bool, stop: StopFlag) {
        self.isTerminal = isTerminal
        self.stop = stop
    }

    /// Throws what was wrong with the screen, if anything was.
    func check() throws { if let failure = state.withLock({ $0.failure }) { throw failure } }

    func show(_ snapshot: JobSnapshot) {
        state.withLock { state in
            guard !state.isHeld else { return }
            let changes = state.table.changes(snapshot)
            guard isTerminal else {
                changes.forEach { write($0 + "\n", &state) }
                return
            }
            let isDue = .now - state.drawnAt >= .milliseconds(250)
            guard isDue || !changes.isEmpty else { return }
            erase(&state)
            let lines = JobTable.lines(snapshot)
            // Lines that the terminal would wrap could not be erased again: it cuts them instead.
            write("\u{1b}[?7l" + lines.joined(separator: "\n") + "\n\u{1b}[?7h", &state)
            state.drawnLines = lines.count
            state.drawnAt = .now
        }
    }

    func say(_ line: String) {
        state.withLock { state in
            if isTerminal { erase(&state) }
            write(line + "\n", &state)
        }
    }

    /// Keeps the screen for text that is written piece by piece, until `release`.
    func hold() {
        state.withLock { state in
            if isTerminal { erase(&state) }
            state.isHeld = true
        }
    }

    /// Writes one piece of held text.
    func stream(_ piece: String) { state.withLock { write(piece, &$0) } }

    /// Lets the table be drawn again.
    func release() { state.withLock { $0.isHeld = false } }

    /// Goes back to the first line of the table and clears it.
    private func erase(_ state: inout State) {
        if state.drawnLines > 0 { write("\u{1b}[\(state.drawnLines)A\u{1b}[J", &state) }
        state.drawnLines = 0
    }

    private func write(_ text: String, _ state: inout State) {
        guard state.failure == nil else { return }
        do throws(StreamError) {
            try StandardStream.output.write(text)
        } catch {
            state.failure = error
            stop.raise(SIGPIPE)
        }
    }
}
