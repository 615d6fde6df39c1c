public import Foundation
import Glibc
import Synchronization

/// A process of ours, in a process group of its own, that ends when we say so.
///
/// It is the only type that starts processes, and `end` ends the whole group by `EndingRule`.
/// Foundation starts every child as the leader of a new group, so Ctrl-C in the terminal reaches us
/// alone, and what the child itself started ends with the group. `Lab.down` ends by the same rule
/// what others started inside its namespaces: those are no children of ours, so it asks the kernel
/// which are left.
///
/// Safe because `Process` locks its own state, `ending` and `drains` are locks, and nothing else
/// changes.
public final class Child: RunningProcess, @unchecked Sendable {
    /// Where standard output and standard error of a child go.
    public enum Output {
        /// To ours.
        case inherited
        /// To a file that is open for writing.
        case file(FileHandle)
        /// To two files that are open for writing.
        case files(output: FileHandle, errors: FileHandle)
        /// To `captured`.
        case captured
    }

    /// The time from SIGTERM to SIGKILL.
    public static let patience = EndingRule.patience

    private let process = Process()
    private let lifeline = Pipe()
    private let ending = Mutex<ProcessEnd?>(nil)
    private let drains: (output: PipeDrain, errors: PipeDrain)?

    /// Starts a command.
    ///
    /// - Parameters:
    ///   - hasLifeline: Standard input is a pipe that closes when this process is gone, however it
    ///     ended.
    ///   - input: What standard input holds; not together with a lifeline.
    public init(
        _ command: Command, output: Output = .inherited, hasLifeline: Bool = false,
        input: Data? = nil
    ) throws(ClusterError) {
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command.words
        process.environment = command.wholeEnvironment
        if hasLifeline || input != nil {
            process.standardInput = lifeline
        } else {
            process.standardInput = FileHandle.nullDevice
        }
        switch output {
        case .inherited: drains = nil
        case .file(let file):
            drains = nil
            process.standardOutput = file
            process.standardError = file
        case .files(let output, let errors):
            drains = nil
            process.standardOutput = output
            process.standardError = errors
        case .captured:
            let pipes = (PipeDrain(), PipeDrain())
            drains = pipes
            process.standardOutput = pipes.0.pipe
            process.standardError = pipes.1.pipe
        }
        // `isRunning` turns false before the reason is known; this comes after.
        process.terminationHandler = { [weak self] process in
            let status = process.terminationStatus
            let end: ProcessEnd =
                process.terminationReason == .exit ? .exited(status) : .killed(signal: status)
            self?.ending.withLock { $0 = end }
        }
        do {
            try process.run()
        } catch {
            throw .command("\(command.line): \(error.localizedDescription)")
        }
        if let input { write(input) }
        drains?.output.start()
        drains?.errors.start()
    }

    /// Fills standard input from a thread, because a pipe holds less than a body may have.
    private func write(_ input: Data) {
        let end = lifeline.fileHandleForWriting
        Thread.detachNewThread {
            // A child that ended early reads no more: its exit status says why.
            try? end.write(contentsOf: input)
            try? end.close()
        }
    }

    /// Writes to the standard input of a child with a lifeline.
    ///
    /// - Returns: False when nobody reads it any more.
    func send(_ bytes: Data) -> Bool {
        (try? lifeline.fileHandleForWriting.write(contentsOf: bytes)) != nil
    }

    /// Closes the standard input of a child with a lifeline, as the end of this process would.
    func cutLifeline() { try? lifeline.fileHandleForWriting.close() }

    /// The process number.
    public var pid: Int32 { process.processIdentifier }

    /// How it ended, or nil while it runs.
    public var end: ProcessEnd? { ending.withLock { $0 } }

    /// Sends a signal to the child and everything it started.
    public func signal(_ number: Int32) {
        guard end == nil else { return }
        kill(-pid, number)
    }

    /// Waits for the child to end by itself.
    ///
    /// - Returns: How it ended; nil when it did not within `limit`.
    public func wait(_ limit: Duration?) -> ProcessEnd? {
        let begin = ContinuousClock.now
        while end == nil {
            if let limit, .now - begin > limit { return nil }
            usleep(Self.pollMicroseconds)
        }
        return end
    }

    /// Asks it to end; after `patience` it is killed.
    ///
    /// Returns when it is gone.
    @discardableResult
    public func end(within patience: Duration) -> ProcessEnd {
        EndingRule(patience: patience).end { number in
            if let number { signal(number) }
            return end == nil ? 1 : 0
        }
        guard let end else { preconditionFailure("process \(pid) is counted as gone and runs") }
        return end
    }

    /// What a child wrote whose output is captured; waits until it wrote everything.
    public func captured() -> (output: String, errors: String) {
        (drains?.output.text() ?? "", drains?.errors.text() ?? "")
    }

    /// Short beside the start of a process.
    private static let pollMicroseconds: UInt32 = 5_000
}

/// Reads a pipe to its end, so that no writer waits for a reader.
///
/// Safe because `done` orders the thread that writes `bytes` before those that read it.
private final class PipeDrain: @unchecked Sendable {
    let pipe = Pipe()
    private var bytes = Data()
    private let done = DispatchGroup()

    func start() {
        done.enter()
        Thread.detachNewThread { [self] in
            bytes = pipe.fileHandleForReading.readDataToEndOfFile()
            done.leave()
        }
    }

    func text() -> String {
        done.wait()
        return String(decoding: bytes, as: UTF8.self)
    }
}
