import Foundation
import Glibc
import Synchronization
import Testing

/// A job started by `apus launch`, in a folder of its own.
final class RunningJob {
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../..").standardized
    static let model = root.appending(path: "cluster/models/stories-fp8").path(
        percentEncoded: false)

    /// The folder of the built programs: that of the test bundle, unless `APUS_PROGRAMS` says
    /// otherwise.
    static let programs =
        ProcessInfo.processInfo.environment["APUS_PROGRAMS"].map { URL(filePath: $0) }
        ?? URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()

    let folder: URL
    private let process = Program()

    init(
        ranks: Int, transport: String, httpPort: Int = 0, httpAddress: String = "127.0.0.1",
        model: String = RunningJob.model, more: String = "", shell: String? = nil
    ) throws {
        folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-end-to-end-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let job = folder.appending(path: "job.yaml")
        try Data(
            """
            name: test
            model: \(model)
            ranks: \(ranks)
            transport: \(transport)
            http: {address: "\(httpAddress)", port: \(httpPort)}
            \(more.contains("limits:") ? "" : "limits: {cacheTokens: 8192}")
            \(more)
            """.utf8
        ).write(to: job)
        let program = Self.programs.appending(path: "apus")
        let words = ["launch", job.path(percentEncoded: false)]
        if let shell {
            process.executableURL = URL(filePath: "/bin/sh")
            process.arguments =
                ["-c", shell, program.path(percentEncoded: false)] + words
        } else {
            process.executableURL = program
            process.arguments = words
        }
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try open("out")
        process.standardError = try open("err")
        try process.run()
    }

    deinit {
        if process.isRunning { _ = stop() }
        try? FileManager.default.removeItem(at: folder)
    }

    var environment: [String: String] {
        ProcessInfo.processInfo.environment.merging(["APUS_JOBS": jobs.path(percentEncoded: false)])
        { $1 }
    }

    private var jobs: URL { folder.appending(path: "jobs") }

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

    // MARK: The job's life

    struct Address {
        var port: Int
        /// As it stands in a URL.
        var host = "127.0.0.1"
    }

    /// Blocks until the job says where it serves.
    func waitUntilServing() throws -> Address {
        let limit = ContinuousClock.now + .seconds(60)
        while .now < limit, process.isRunning {
            // A line that is half written has a port, too.
            let line = output.split(separator: "\n").first {
                $0.contains("serving on") && $0.hasSuffix("/v1")
            }
            if let line, let port = line.split(separator: ":").last?.split(separator: "/").first {
                let isIPv6 = line.contains("http://[")
                return Address(
                    port: try #require(Int(port)), host: isIPv6 ? "[::1]" : "127.0.0.1")
            }
            usleep(20_000)
        }
        throw Failure("the job does not serve: \(output)\(errors)\(logs())")
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// Ends the job as Ctrl-C does; the exit status.
    func stop() -> Int32? {
        signal(SIGINT)
        return wait(seconds: 30)
    }

    /// The exit status, or 128 + signal; nil when the job does not end in time.
    func wait(seconds: Double) -> Int32? {
        process.exitStatus(within: seconds)
    }

    // MARK: Its processes and files

    /// Processes that were started for this job, found by its folder in their arguments.
    func processes(named name: String? = nil) -> [Int32] {
        ProcessFiles.all().filter { pid in
            let words = ProcessFiles.words(of: pid)
            return pid != process.processIdentifier
                && words.contains { $0.contains(jobs.path(percentEncoded: false)) }
                && (name == nil || words[0].hasSuffix("/" + (name ?? "")))
        }
    }

    func workers(rank: Int) -> [Int32] {
        processes(named: "apus-worker").filter { pid in
            let words = ProcessFiles.words(of: pid)
            return words.firstIndex(of: "--rank").map { words[$0 + 1] == "\(rank)" } ?? false
        }
    }

    /// No process, and nothing of ours in shared memory.
    func expectNothingLeft(_ location: SourceLocation = #_sourceLocation) {
        #expect(processes().isEmpty, sourceLocation: location)
        let shared = (try? FileManager.default.contentsOfDirectory(atPath: "/dev/shm")) ?? []
        #expect(!shared.contains { $0.contains("apus") }, sourceLocation: location)
    }

    private var jobFolder: URL {
        get throws {
            let names = try FileManager.default.contentsOfDirectory(
                atPath: jobs.path(percentEncoded: false))
            return jobs.appending(path: try #require(names.first { $0.hasPrefix("test-") }))
        }
    }

    var resolvedJob: String {
        get throws { try jobFolder.appending(path: "job.yaml").path(percentEncoded: false) }
    }

    var resolvedText: String {
        get throws { try String(contentsOfFile: resolvedJob, encoding: .utf8) }
    }

    func controlPort() throws -> Int {
        try #require((try json("endpoints.json")["control"] as? [String: Any])?["port"] as? Int)
    }

    private func json(_ name: String) throws -> [String: Any] {
        let bytes = try Data(contentsOf: jobFolder.appending(path: name))
        return try #require(try JSONSerialization.jsonObject(with: bytes) as? [String: Any])
    }

    func logs() -> String {
        guard let folder = try? jobFolder,
            let names = try? FileManager.default.contentsOfDirectory(
                atPath: folder.path(percentEncoded: false))
        else { return "" }
        return names.filter { $0.hasSuffix(".log") }.sorted().map { name in
            (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
        }.joined()
    }

    /// How often the logs say that a rank was lost. It only grows, where `/health` may be "ready"
    /// again before the next poll.
    var lossCount: Int { logs().components(separatedBy: "was lost").count - 1 }

    /// Returns once the logs tell of a loss after so many others.
    func waitForLoss(after count: Int = 0) async throws {
        try await Wait.until("a rank is lost: \(logs())") { lossCount > count }
    }

    /// Returns once no process of the job is left.
    func waitForProcesses(toEndWithin seconds: Double) async throws {
        try await Wait.until("all processes end", seconds: seconds) { processes().isEmpty }
    }

    // MARK: Other programs beside it

    func apus(_ arguments: [String]) throws -> (status: Int32, output: String) {
        try Self.run("apus", arguments, environment)
    }

    /// Runs one more worker to its end.
    func worker(rank: Int, configuration: String) throws -> (status: Int32, output: String) {
        let token = try token()
        return try Self.run(
            "apus-worker",
            [
                "--job", configuration, "--rank", "\(rank)", "--coordinator",
                "127.0.0.1:\(controlPort())",
            ], environment.merging(["APUS_TOKEN": token]) { $1 })
    }

    /// The job's secret, as its folder holds it.
    func token() throws -> String { try #require(try json("state.json")["token"] as? String) }

    static func run(
        _ program: String, _ arguments: [String],
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> (status: Int32, output: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = programs.appending(path: program)
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    func write(_ name: String, _ text: String) throws -> String {
        let file = folder.appending(path: name)
        try Data(text.utf8).write(to: file)
        return file.path(percentEncoded: false)
    }

    /// A copy of the model in which one file has one more line break.
    func copyOfModel(changing name: String) throws -> String {
        let copy = folder.appending(path: "model")
        try FileManager.default.copyItem(at: URL(filePath: Self.model), to: copy)
        let file = copy.appending(path: name)
        try (Data(contentsOf: file) + Data("\n".utf8)).write(to: file)
        return copy.path(percentEncoded: false)
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
