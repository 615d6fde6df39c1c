import Foundation
import Glibc
import Testing

/// `apus` with arguments, as a user runs it, its output kept in a folder of its own.
final class RunningBench {
    let process = Program()
    private let folder: URL

    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        process.executableURL = RunningJob.programs.appending(path: "apus")
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try open("out")
        process.standardError = try open("err")
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(at: folder)
    }

    private func open(_ name: String) throws -> FileHandle {
        let file = folder.appending(path: name)
        try Data().write(to: file)
        return try FileHandle(forWritingTo: file)
    }

    private func read(_ name: String) -> String {
        (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
    }

    var output: String { read("out") }
    var errors: String { read("err") }

    /// The exit status, or 128 + signal; nil when it does not end in time.
    func wait(seconds: Double = 60) -> Int32? {
        process.exitStatus(within: seconds)
    }

    /// Returns once somebody listens on a port of this machine.
    static func waitForListener(on port: Int) async throws {
        try await Wait.until("somebody listens on port \(port)") {
            ProcessFiles.sockets().contains { $0.isListening && $0.port == port }
        }
    }

    /// A port of this machine that nobody uses, below those that Linux gives out by itself.
    static func freePort() throws -> Int {
        let used = Set(ProcessFiles.sockets().compactMap(\.port))
        return try #require((20_000 ..< 30_000).shuffled().first { !used.contains($0) })
    }
}
