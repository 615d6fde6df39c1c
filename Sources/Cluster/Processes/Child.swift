public import Foundation
import Glibc
import Synchronization

/// A process of ours, in a process group of its own, that ends when we say so.
///
/// Foundation starts every child as the leader of a new group, so Ctrl-C in the terminal reaches
/// us alone, and what the child itself started ends with the group.
///
/// Safe because `Process` locks its own state, `ended` is a lock, and nothing else changes.
public final class Child: @unchecked Sendable {
    private let process = Process()
    private let lifeline = Pipe()
    private let ended = Mutex<Int32?>(nil)

    /// Starts `words` (looked up in the search path) with `environment` added to ours.
    ///
    /// - Parameters:
    ///   - output: Where standard output and error go; nil leaves them ours.
    ///   - hasLifeline: Standard input is a pipe that closes when we are gone, however we went.
    public init(
        words: [String], environment: [String: String] = [:], output: FileHandle? = nil,
        hasLifeline: Bool = false
    ) throws(ClusterError) {
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.environment = ProcessInfo.processInfo.environment
            .merging(environment) { $1 }
        if hasLifeline {
            process.standardInput = lifeline
        } else {
            process.standardInput = FileHandle.nullDevice
        }
        if let output {
            process.standardOutput = output
            process.standardError = output
        }
        // `isRunning` turns false before the reason is known; this comes after.
        process.terminationHandler = { [weak self] process in
            let status = process.terminationStatus
            let code = process.terminationReason == .exit ? status : 128 + status
            self?.ended.withLock { $0 = code }
        }
        do {
            try process.run()
        } catch {
            throw .command("\(words.joined(separator: " ")): \(error.localizedDescription)")
        }
    }

    /// The process number.
    public var pid: Int32 { process.processIdentifier }

    /// How it ended, or nil while it runs: the exit status, or 128 + the signal that killed it.
    public var status: Int32? { ended.withLock { $0 } }

    /// Sends a signal to the child and everything it started.
    public func signal(_ number: Int32) {
        guard status == nil else { return }
        kill(-pid, number)
    }

    /// Asks it to end; after `patience` it is killed.
    ///
    /// Returns when it is gone.
    public func end(within patience: Duration) {
        guard status == nil else { return }
        signal(SIGTERM)
        let begin = ContinuousClock.now
        while status == nil {
            if .now - begin > patience { signal(SIGKILL) }
            usleep(10_000)
        }
    }
}
