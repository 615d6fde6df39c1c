import Foundation
import Glibc
import Testing

@testable import Cluster

/// What `apus logs` and `apus stop` do with the folder of a job.
@Suite final class JobFromOutsideTests {
    private let root: URL

    init() throws { root = try LaunchTests.temporaryFolder() }

    deinit { try? FileManager.default.removeItem(at: root) }

    /// A job that a process runs.
    private func job(
        _ name: String, at seconds: Double = 1, owner: ProcessIdentity = .current
    ) throws -> JobFolder {
        let job = try JobConfiguration(yaml: "model: /models/m\nname: \(name)", path: "a")
        let folder = try JobFolder.make(
            for: job, in: root, now: Date(timeIntervalSince1970: seconds))
        var state = JobFolder.State(
            of: job, token: .random(), began: Date(timeIntervalSince1970: seconds))
        state.owner = owner
        try folder.write(state)
        return folder
    }

    private func owner(_ words: String...) throws -> (Child, ProcessIdentity) {
        let child = try Child(Command(words: words))
        return (child, try #require(ProcessIdentity(pid: child.pid)))
    }

    private func words(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch {
            return "\(error)"
        }
    }

    private func write(_ text: String, _ process: String, _ folder: JobFolder) throws {
        let file = folder.log(process)
        let old = (try? Data(contentsOf: file)) ?? Data()
        try (old + Data(text.utf8)).write(to: file)
    }

    private func all(_ logs: inout JobLogs) -> [String] {
        var lines: [String] = []
        while let line = logs.next() { lines.append(line) }
        return lines
    }

    // MARK: Logs

    @Test func `logs are one, in the order of their times`() throws {
        let folder = try job("a")
        let time = "2026-11-29T08:00:0"
        try write(
            "\(time)1.000Z rank 0 info: one\n\(time)3.000Z rank 0 info: three\n", "rank-0", folder)
        try write("\(time)2.000Z rank 1 info: two\nmore of two\n\(time)4.000Z x", "rank-1", folder)
        var logs = try JobLogs(of: folder)
        #expect(
            all(&logs).map { $0.split(separator: " ").last } == ["one", "two", "two", "three"])
        // A line that was not whole comes when it is.
        let file = try FileHandle(forWritingTo: folder.log("rank-1"))
        try file.seekToEnd()
        try file.write(contentsOf: Data("yz\n".utf8))
        #expect(all(&logs) == ["\(time)4.000Z xyz"])
        // A rank that started later is found, and so are the words of one that was killed.
        try write("\(time)5.000Z rank 2 info: five\nhalf a li", "rank-2", folder)
        logs.findNew()
        #expect(all(&logs) == ["\(time)5.000Z rank 2 info: five"])
        #expect(logs.rest() == ["half a li"])
    }

    @Test func `one process's log is read alone, and one that is not there is an error`() throws {
        let folder = try job("a")
        try write("zero\n", "rank-0", folder)
        try write("one\n", "rank-1", folder)
        var logs = try JobLogs(of: folder, process: "rank-1")
        #expect(all(&logs) == ["one"])
        let error = words { _ = try JobLogs(of: folder, process: "rank-7") }
        #expect(error.hasSuffix("has no log of rank-7: it has rank-0, rank-1"), "\(error)")
    }

    @Test func `escapes of a terminal are shown, and a line without end is cut`() throws {
        let folder = try job("a")
        try write("\u{1b}[2Jx\n" + String(repeating: "y", count: 200_000) + "\n", "rank-0", folder)
        var logs = try JobLogs(of: folder)
        let lines = all(&logs)
        #expect(lines.first == "\\u{1b}[2Jx")
        #expect(lines.dropFirst().map(\.count).reduce(0, +) == 200_000)
        #expect(lines.allSatisfy { $0.count <= 131_072 })
    }

    // MARK: Which job

    @Test func `the only job that runs is meant, and several must be told apart`() throws {
        let (child, identity) = try owner("sleep", "60")
        child.end(within: .seconds(5))
        #expect(
            words { _ = try JobSelection.folder(nil, mayHaveEnded: false, in: root) }
                .hasPrefix("no job runs"))
        let ended = try job("old", at: 1, owner: identity)
        #expect(try JobSelection.folder(nil, mayHaveEnded: true, in: root).url == ended.url)
        let first = try job("a", at: 2)
        #expect(try JobSelection.folder(nil, mayHaveEnded: false, in: root).url == first.url)
        _ = try job("b", at: 3)
        let error = words { _ = try JobSelection.folder(nil, mayHaveEnded: false, in: root) }
        #expect(error == "2 jobs run (b, a): say which one")
        #expect(try JobSelection.folder("a", mayHaveEnded: false, in: root).url == first.url)
        let path = ended.url.path(percentEncoded: false)
        #expect(
            try JobSelection.folder(path, mayHaveEnded: true, in: root).url.lastPathComponent
                == ended.url.lastPathComponent)
        #expect(
            words { _ = try JobSelection.folder("old", mayHaveEnded: false, in: root) }
                == "the job old does not run any more")
        #expect(
            words { _ = try JobSelection.folder("c", mayHaveEnded: true, in: root) }
                .hasPrefix("c is neither a job's folder nor the name of a job in "))
    }

    @Test func `a secret is for a job that runs on this machine`() throws {
        let (child, identity) = try owner("sleep", "60")
        let ended = try job("old", at: 1, owner: identity).url.path(percentEncoded: false)
        child.end(within: .seconds(5))
        let running = try job("a", at: 2)
        let path = running.url.path(percentEncoded: false)
        #expect(try JobSelection.here(path, in: root).isRunning)
        #expect(
            words { _ = try JobSelection.here(ended, in: root) } == "the job old has ended")
        var state = try running.state()
        state.node = "elsewhere"
        try running.write(state)
        #expect(
            words { _ = try JobSelection.here(path, in: root) }
                == "the job a runs on elsewhere: ask there, or name its URL")
    }

    @Test func `a machine that refuses is told from one that is not reached`() {
        // Port 1 belongs to a service that nobody has run for decades (tcpmux).
        #expect(Endpoint(address: "127.0.0.1", port: 1).isRefused(within: .seconds(5)))
        #expect(Endpoint(address: "localhost", port: 1).isRefused(within: .seconds(5)))
        // Everybody at once, whom TCP does not reach, and a name that no server knows (RFC 2606).
        #expect(!Endpoint(address: "255.255.255.255", port: 1).isRefused(within: .seconds(1)))
        #expect(!Endpoint(address: "nobody.invalid", port: 1).isRefused(within: .seconds(5)))
    }

    // MARK: Stop

    @Test func `stop asks the process that runs the job, and waits until it is gone`() throws {
        // Other tests of this process ignore signals, which children inherit.
        let (child, identity) = try owner("env", "--default-signal=TERM", "sleep", "60")
        defer { child.end(within: .zero) }
        let folder = try job("a", owner: identity)
        try JobStop.stop(folder, now: false, limit: .seconds(20))
        #expect(child.wait(.seconds(10)) == .killed(signal: SIGTERM))
        #expect(
            words { try JobStop.stop(folder, now: false, limit: .seconds(1)) }
                == "the job a has ended already")
    }

    @Test func `a job that does not end in time is an error`() throws {
        // The shell comes to its trap before the signal does.
        let (child, _) = try LaunchTests.started("trap '' TERM; echo ready; sleep 60 & wait; wait")
        defer { child.end(within: .zero) }
        let identity = try #require(ProcessIdentity(pid: child.pid))
        let folder = try job("a", owner: identity)
        #expect(
            words { try JobStop.stop(folder, now: true, limit: .milliseconds(300)) }
                .contains("was asked to end the job, and has not within"))
    }
}
