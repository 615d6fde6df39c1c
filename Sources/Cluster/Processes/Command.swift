import Foundation
import Glibc

/// A program that is called for its answer and waited for.
struct Command: Hashable, Sendable {
    /// The program and its arguments.
    ///
    /// The program is looked up in the search path.
    var words: [String]

    init(_ words: String...) { self.words = words }

    init(words: [String]) { self.words = words }

    /// Far above what `ip` and `tc` take on a busy machine.
    static let limitSeconds = 30.0

    /// As one would type it.
    var line: String { words.joined(separator: " ") }

    /// Runs the program to its end.
    ///
    /// - Returns: What it wrote to standard output.
    /// - Throws: `ClusterError.command` with its standard error when it does not exit with 0;
    ///   `deadline` when it does not end in time.
    @discardableResult
    func run(limitSeconds: Double = Command.limitSeconds) throws(ClusterError) -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        let output = Pipe()
        let complaints = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = complaints
        do {
            try process.run()
        } catch {
            throw .command("\(line): \(error.localizedDescription)")
        }
        let pid = process.processIdentifier
        // Not SIGTERM: a program inherits that its caller ignores or blocks it.
        let limit = DispatchWorkItem { _ = kill(pid, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + limitSeconds, execute: limit)
        defer { limit.cancel() }
        // Answers are short (below a pipe's 64 KiB), so reading one after the other cannot block.
        let answer = output.fileHandleForReading.readDataToEndOfFile()
        let complaint = complaints.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        // The signal was ours if the item ran; it may not have returned from `kill` yet.
        if process.terminationReason == .uncaughtSignal,
            limit.wait(timeout: .now() + 0.1) == .success
        {
            throw .deadline("\(line) did not end within \(limitSeconds) s")
        }
        guard process.terminationStatus == 0, process.terminationReason == .exit else {
            let words = String(decoding: complaint, as: UTF8.self)
                .split(separator: "\n").joined(separator: "; ")
            throw .command(
                "\(line): exit \(process.terminationStatus)\(words.isEmpty ? "" : ": \(words)")")
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
