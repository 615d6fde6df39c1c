import Dispatch
import Foundation
import Synchronization

/// Says when files of a running server are to be read again: when they were written, are other ones
/// than before, or may be read by others than before.
///
/// 1. A change counts once two polls agree, so that a file is not read while it is being written.
/// 2. Files that were refused are read again now and then, because what was against them need not
///    show in them: a clock, a folder on the way, another user's rights.
final class FileWatch: Sendable {
    /// What tells a file from another one at the same path, and from itself before it changed.
    private struct Stamp: Hashable {
        let number: UInt64
        let bytes: UInt64
        let written: Date
        let mode: UInt64
        let owner: UInt64
        let group: UInt64

        /// Nil for a path at which there is no file; symbolic links are followed.
        init?(_ path: String) {
            let resolved = URL(filePath: path).resolvingSymlinksInPath()
                .path(percentEncoded: false)
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: resolved)
            else { return nil }
            func value(_ key: FileAttributeKey) -> UInt64 {
                (attributes[key] as? NSNumber)?.uint64Value ?? 0
            }
            number = value(.systemFileNumber)
            bytes = value(.size)
            written = attributes[.modificationDate] as? Date ?? .distantPast
            mode = value(.posixPermissions)
            owner = value(.ownerAccountID)
            group = value(.groupOwnerAccountID)
        }
    }

    private struct State {
        /// Of the files that were read last.
        var known: [Stamp?]
        /// Of the last poll.
        var seen: [Stamp?]
        var isPolling = false
        /// Why the files were refused; nil where they were taken.
        var refusal: String?
        var pollsUntilRetry = 0
    }

    /// Polls between two tries to read what was refused: about so many seconds.
    static let pollsPerTry = 5

    private let paths: [String]
    private let queue = DispatchQueue(label: "apus.file-watch", qos: .utility)
    private let state: Mutex<State>

    /// Polls for the first time: whoever reads the files afterwards misses no change.
    init(_ paths: [String]) {
        self.paths = paths
        let stamps = paths.map { Stamp($0) }
        state = Mutex(State(known: stamps, seen: stamps))
    }

    /// Polls the files where nobody waits for their disk, and calls `read` there if they are to
    /// be read again; called about once a second.
    func poll(_ read: @escaping @Sendable () -> Void) {
        guard !paths.isEmpty else { return }
        let isFree = state.withLock { state in
            defer { state.isPolling = true }
            return !state.isPolling
        }
        guard isFree else { return }
        queue.async {
            if self.isDue() { read() }
            self.state.withLock { $0.isPolling = false }
        }
    }

    /// Whether the files are to be read again, by this poll and those before.
    func isDue() -> Bool {
        let stamps = paths.map { Stamp($0) }
        return state.withLock { state in
            defer { state.seen = stamps }
            guard state.seen == stamps else { return false }
            guard state.known == stamps else {
                state.known = stamps
                return true
            }
            guard state.refusal != nil else { return false }
            state.pollsUntilRetry -= 1
            return state.pollsUntilRetry <= 0
        }
    }

    /// Notes that the files were read and taken.
    func taken() { state.withLock { $0.refusal = nil } }

    /// Notes that the files were refused.
    ///
    /// - Returns: Whether the fact is a new one.
    func refused(_ fact: String) -> Bool {
        state.withLock { state in
            defer { (state.refusal, state.pollsUntilRetry) = (fact, Self.pollsPerTry) }
            return state.refusal != fact
        }
    }
}
