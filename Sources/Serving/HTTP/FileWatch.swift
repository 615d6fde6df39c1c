import Dispatch
import Foundation
import Synchronization

/// Says when files of a running server were written, or are other ones than before.
final class FileWatch: Sendable {
    /// What tells a file from another one at the same path, and from itself before it was written.
    private struct Stamp: Hashable {
        let number: UInt64
        let bytes: UInt64
        let written: Date

        /// Nil for a path at which there is no file; symbolic links are followed.
        init?(_ path: String) {
            let resolved = URL(filePath: path).resolvingSymlinksInPath()
                .path(percentEncoded: false)
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: resolved)
            else { return nil }
            number = (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0
            bytes = (attributes[.size] as? NSNumber)?.uint64Value ?? 0
            written = attributes[.modificationDate] as? Date ?? .distantPast
        }
    }

    private struct State {
        var stamps: [Stamp?]
        var isLooking = false
    }

    private let paths: [String]
    private let queue = DispatchQueue(label: "apus.file-watch", qos: .utility)
    private let state: Mutex<State>

    /// Looks for the first time: whoever reads the files afterwards misses no change.
    init(_ paths: [String]) {
        self.paths = paths
        state = Mutex(State(stamps: paths.map { Stamp($0) }))
    }

    /// Looks at the files where nobody waits for their disk, and calls `changed` there if one of
    /// them changed since the last look.
    func look(_ changed: @escaping @Sendable () -> Void) {
        guard !paths.isEmpty else { return }
        let isFree = state.withLock { state in
            defer { state.isLooking = true }
            return !state.isLooking
        }
        guard isFree else { return }
        queue.async {
            if self.hasChanged() { changed() }
            self.state.withLock { $0.isLooking = false }
        }
    }

    /// Whether a file changed since the last look.
    func hasChanged() -> Bool {
        let stamps = paths.map { Stamp($0) }
        return state.withLock { state in
            defer { state.stamps = stamps }
            return state.stamps != stamps
        }
    }
}
