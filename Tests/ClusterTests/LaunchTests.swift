import Encoding
import Foundation
import Glibc
import Logging
import Testing
import Topology

@testable import Cluster

@Suite struct LaunchTests {
    static func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    @Test func `a job folder is private and keeps the resolved job`() throws {
        let root = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: root) }
        let job = try JobConfiguration(yaml: "model: m\nname: demo", path: "a")
        let folder = try JobFolder.make(for: job, in: root)
        #expect(folder.url.lastPathComponent.hasPrefix("demo-"))
        let attributes = try FileManager.default.attributesOfItem(
            atPath: folder.url.path(percentEncoded: false))
        #expect(attributes[.posixPermissions] as? Int == 0o700)
        #expect(
            try JobConfiguration(contentsOf: folder.configuration.path(percentEncoded: false)).name
                == "demo")
    }

    @Test func `the fingerprint of a model changes with its headers and not with its weights`()
        throws
    {
        let root = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: root) }
        func write(_ header: String, _ weights: [UInt8]) throws -> String {
            try Data("{}".utf8).write(to: root.appending(path: "config.json"))
            let length = (0 ..< 8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
            try Data(length + Array(header.utf8) + weights)
                .write(to: root.appending(path: "model.safetensors"))
            return try Fingerprint.ofModel(root.path(percentEncoded: false))["model.safetensors"]!
        }
        let first = try write("{\"a\":1}", [1, 2, 3])
        #expect(try write("{\"a\":1}", [1, 2, 4]) == first)
        #expect(try write("{\"b\":1}", [1, 2, 3]) != first)
        #expect(try write("{\"a\":1}", [1, 2, 3, 4]) != first)
    }

    @Test func `a folder without config json is no model`() throws {
        let root = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: root) }
        let error = #expect(throws: ClusterError.self) {
            try Fingerprint.ofModel(root.path(percentEncoded: false))
        }
        #expect("\(error!)".contains("holds no config.json"))
    }

    @Test func `a table names every rank and says only what changed to a pipe`() {
        var job = MembershipTests.joined()
        var table = JobTable()
        let first = job.snapshot(now: .seconds(2))
        #expect(JobTable.lines(first).count == 4)
        #expect(table.changes(first) == ["rank 0: connect", "rank 1: connect"])
        _ = job.apply(.entered(MembershipTests.id(2), .load), now: .seconds(3))
        #expect(table.changes(job.snapshot(now: .seconds(3))) == ["rank 1: load"])
        #expect(table.changes(job.snapshot(now: .seconds(4))).isEmpty)
    }

    @Test func `a log line cannot be forged by what another process sent`() {
        #expect(TaggedLog.plain("a\nb\u{1b}[0m") == "a\\u{a}b\\u{1b}[0m")
        #expect(TaggedLog.plain("plain é") == "plain é")
    }

    @Test func `a signal is called by its number and its name`() {
        #expect("\(ProcessEnd.killed(signal: SIGKILL))" == "was killed by signal 9 (SIGKILL)")
        #expect("\(ProcessEnd.killed(signal: SIGBUS))" == "was killed by signal 7 (SIGBUS)")
        #expect("\(ProcessEnd.killed(signal: 40))" == "was killed by signal 40")
    }

    /// A child that runs a script, once it has written a line: the script has come so far.
    static func started(_ script: String) throws -> (child: Child, line: String) {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "output")
        try Data().write(to: file)
        let child = try Child(
            Command("sh", "-c", script), output: .file(FileHandle(forWritingTo: file)))
        let limit = ContinuousClock.now + .seconds(60)
        while true {
            let text = try String(contentsOf: file, encoding: .utf8)
            if text.hasSuffix("\n") { return (child, String(text.dropLast())) }
            guard child.end == nil, .now < limit else {
                child.end(within: .zero)
                throw ClusterError.deadline("\(script) wrote no line: \(text)")
            }
            Thread.sleep(forTimeInterval: 0.005)
        }
    }

    @Test func `a child that ignores SIGTERM is killed`() throws {
        let (child, _) = try Self.started(
            "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        #expect(child.end(within: .milliseconds(200)) == .killed(signal: SIGKILL))
    }

    @Test func `a child that exits with 137 is told from one that a signal killed`() throws {
        let exits = try Child(Command("sh", "-c", "exit 137"))
        #expect(exits.wait(.seconds(5)) == .exited(137))
        let dies = try Child(Command("sh", "-c", "kill -9 $$"))
        #expect(dies.wait(.seconds(5)) == .killed(signal: 9))
        #expect(exits.end?.code == dies.end?.code)
    }

    @Test func `what a child writes beyond the size of a pipe is captured whole`() throws {
        let child = try Child(
            Command("sh", "-c", "head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero"),
            output: .captured)
        #expect(child.wait(.seconds(10)) == .exited(0))
        let (output, errors) = child.captured()
        #expect(output.utf8.count == 200_000)
        #expect(errors.utf8.count == 300_000)
    }

    @Test func `what a child started ends with it`() throws {
        let (child, line) = try Self.started("sleep 600 & echo $!; wait")
        let pid = try #require(Int32(line))
        let started = try #require(ProcessIdentity(pid: pid))
        child.end(within: .seconds(2))
        // The signal goes to both, and either may be gone first.
        let limit = ContinuousClock.now + .seconds(60)
        while started.isAlive {
            try #require(ContinuousClock.now < limit, "process \(line) lives on")
            Thread.sleep(forTimeInterval: 0.005)
        }
    }

    @Test func `a command does not see hidden variables and sees its own`() throws {
        var command = Command("sh", "-c", "echo ${APUS_TEST_OWN}-${HOME}-")
        command.environment = ["APUS_TEST_OWN": "a"]
        command.hiddenPrefixes = ["HOM"]
        #expect(try command.run() == "a--\n")
    }

    @Test func `when one of a group fails, the others have their time and are named`() throws {
        let group = try ChildGroup([
            Command("sh", "-c", "exit 3"), Command("sh", "-c", "sleep 1; exit 4"),
            Command("sleep", "60"),
        ])
        let ending = group.wait(stop: StopFlag(), grace: .seconds(5))
        #expect(ending.firstFailure == 0)
        #expect(ending.late == [2])
        #expect(ending.ends.prefix(2) == [.exited(3), .exited(4)])
        // SIGKILL where this process made its children ignore SIGTERM.
        #expect([SIGTERM, SIGKILL].map(ProcessEnd.killed).contains(ending.ends[2]))
    }

    @Test func `a program that does not exist is an error of ours with its name`() throws {
        let error = #expect(throws: ClusterError.self) { try Command("no-such-program").run() }
        #expect("\(error!)".contains("no-such-program"))
    }

    @Test func `a program that does not end in its time is ended, and named`() {
        #expect(throws: ClusterError.deadline("sleep 60 did not end within 0.2 s")) {
            try Command("sleep", "60").run(limit: .milliseconds(200))
        }
    }

    @Test func `a process is told from a later one with its number`() throws {
        #expect(ProcessIdentity.current.isAlive)
        let child = try Child(Command("true"))
        let identity = ProcessIdentity(pid: child.pid)
        child.end(within: .seconds(5))
        #expect(identity?.isAlive != true)
    }
}
