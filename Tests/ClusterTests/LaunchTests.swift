import Foundation
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

    @Test func `the latest job that runs is found, and ended ones are not`() throws {
        let root = try Self.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: root) }
        let job = try JobConfiguration(yaml: "model: m", path: "a")
        #expect(JobFolder.latest(in: root) == nil)
        let folder = try JobFolder.make(for: job, in: root)
        #expect(JobFolder.latest(in: root) == nil)
        try folder.write(JobFolder.State(launcher: .current, began: Date(), token: "t"))
        #expect(JobFolder.latest(in: root)?.url.lastPathComponent == folder.url.lastPathComponent)
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
            return try Fingerprint.ofModel(root.path(percentEncoded: false))
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

    @Test func `a log line cannot be forged by what a peer sent`() {
        #expect(TaggedLog.plain("a\nb\u{1b}[0m") == "a\\u{a}b\\u{1b}[0m")
        #expect(TaggedLog.plain("plain é") == "plain é")
    }

    @Test func `a child that ignores SIGTERM is killed`() throws {
        let child = try Child(words: ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
        Thread.sleep(forTimeInterval: 0.2)
        child.end(within: .milliseconds(200))
        #expect(child.status == Int32(137))
    }

    @Test func `a program that does not exist is an error of ours with its name`() throws {
        let error = #expect(throws: ClusterError.self) { try Command("no-such-program").run() }
        #expect("\(error!)".contains("no-such-program"))
    }

    @Test func `a program that does not end in its time is ended, and named`() {
        #expect(throws: ClusterError.deadline("sleep 60 did not end within 0.2 s")) {
            try Command("sleep", "60").run(limitSeconds: 0.2)
        }
    }

    @Test func `a process is told from a later one with its number`() throws {
        #expect(ProcessIdentity.current.isAlive)
        let child = try Child(words: ["true"])
        let identity = ProcessIdentity(pid: child.pid)
        child.end(within: .seconds(5))
        #expect(identity?.isAlive != true)
    }
}
