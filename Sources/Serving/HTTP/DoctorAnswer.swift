import Encoding
import Foundation
import NIOCore
import Synchronization

/// The answer of `/doctor`: a report that was made before the server's start, and changes no more.
final class DoctorAnswer: Sendable {
    private struct State {
        var isRead = false
        /// Nil where no report is kept.
        var text: ByteBuffer?
    }

    private let lane: WorkLane
    private let read: @Sendable () -> Data?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - lane: Where the report is read, once, at the first question.
    ///   - read: Gives the report, as JSON.
    init(on lane: WorkLane, _ read: @escaping @Sendable () -> Data?) {
        self.lane = lane
        self.read = read
    }

    /// The report as it was kept, the same bytes for all who ask; nil where none was, or where what
    /// is there is no JSON object.
    func text() async throws -> ByteBuffer? {
        let known = state.withLock { $0 }
        if known.isRead { return known.text }
        // Whoever waits for the lane finds what the first one read.
        return try await lane.run(for: "") { [self] in
            let known = state.withLock { $0 }
            if known.isRead { return known.text }
            let text = readReport()
            state.withLock { $0 = State(isRead: true, text: text) }
            return text
        }
    }

    private func readReport() -> ByteBuffer? {
        guard let report = read(), case .object = try? JSONValue.parse(Array(report)) else {
            return nil
        }
        return ByteBuffer(bytes: report)
    }
}
