import Foundation
import Glibc
import Testing

@testable import Cluster

@Suite final class JobFolderTests {
    private let root: URL

    init() throws { root = try LaunchTests.temporaryFolder() }

    deinit { try? FileManager.default.removeItem(at: root) }

    /// A job's folder whose job began so many seconds after the first.
    @discardableResult
    private func job(
        _ name: String, at seconds: Double, owner: ProcessIdentity? = nil, node: String? = nil
    ) throws -> JobFolder {
        let job = try JobConfiguration(yaml: "model: /models/m\nname: \(name)", path: "a")
        let folder = try JobFolder.make(
            for: job, in: root, now: Date(timeIntervalSince1970: seconds))
        var state = JobFolder.State(
            of: job, token: .random(), began: Date(timeIntervalSince1970: seconds))
        if let owner { state.owner = owner }
        if let node { state.node = node }
        try folder.write(state)
        return folder
    }

    /// A process that is gone.
    private func gone() throws -> ProcessIdentity {
        let child = try Child(Command("sleep", "60"))
        let identity = try #require(ProcessIdentity(pid: child.pid))
        child.end(within: .seconds(5))
        return identity
    }

    @Test func `what the checks found is kept in the folder, and given as it is`() throws {
        let job = try JobConfiguration(yaml: "model: /models/m\nname: tale", path: "a")
        let folder = try JobFolder.make(for: job, in: root)
        #expect(folder.doctorReport() == nil)
        // A host that did not answer fails whatever is asked of it.
        let silent = CheckedHost(name: "silent", ranks: 0 ..< 1)
        let facts = JobFacts(job: job, launcher: silent, hosts: [silent])
        try folder.keep(
            doctorReport: DoctorReport(facts, made: Date(timeIntervalSince1970: 0)).json())
        struct Kept: Decodable {
            var job: String
            var made: String
            var failures: Int
            var warnings: Int
            var findings: [Finding]
        }
        let kept = try JSONDecoder().decode(Kept.self, from: try #require(folder.doctorReport()))
        #expect(kept.job == "tale" && kept.made == "1970-01-01T00:00:00Z")
        #expect(kept.findings == facts.findings && kept.failures > 0)
        #expect(kept.failures == kept.findings.count { $0.severity == .fail })
        #expect(kept.warnings == kept.findings.count { $0.severity == .warn })
    }

    @Test func `a report of more than 1 MiB is not read`() throws {
        let job = try JobConfiguration(yaml: "model: /models/m\nname: tale", path: "a")
        let folder = try JobFolder.make(for: job, in: root)
        try folder.keep(doctorReport: Data(count: 1 << 20))
        #expect(folder.doctorReport()?.count == 1 << 20)
        try folder.keep(doctorReport: Data(count: (1 << 20) + 1))
        #expect(folder.doctorReport() == nil)
    }

    @Test func `every job that runs is found, the newest first, and ended ones are not`() throws {
        let gone = try gone()
        try job("old", at: 10)
        try job("ended", at: 20, owner: gone)
        try job("new", at: 30)
        #expect(JobFolder.all(in: root).count == 3)
        let reports = JobWatch.running(in: root)
        #expect(reports.map(\.name) == ["new", "old"])
        #expect(reports.map(\.pid) == [getpid(), getpid()])
        #expect(reports.map(\.subject) == ["/models/m", "/models/m"])
        #expect(reports.map(\.state) == ["starting", "starting"])
    }

    @Test func `a job that does not answer is shown with what its folder says`() throws {
        let folder = try job("silent", at: 1)
        try folder.write(
            JobFolder.Endpoints(
                control: Endpoint(address: "/run/no-such-socket", port: 0),
                http: Endpoint(address: "::1", port: 8080)))
        let report = try JobWatch.report(of: folder)
        #expect(report.state == "silent")
        #expect(report.http == "http://[::1]:8080/v1")
        #expect(report.error?.contains("this observer could not join") == true)
        #expect(report.lines[0] == "silent: m, silent, process \(getpid()), http://[::1]:8080/v1")
    }

    @Test func `an ended job is told from one that runs without being asked`() throws {
        let report = try JobWatch.report(of: job("a", at: 1, owner: gone()))
        #expect(report.state == "ended")
        #expect(report.snapshot == nil)
        let error = #expect(throws: ClusterError.self) { try JobWatch.report(of: JobFolder(root)) }
        #expect("\(error!)".contains("is not the folder of a job"))
    }

    @Test func `the newest ended jobs keep their folders, and jobs that run theirs`() throws {
        let gone = try gone()
        try job("runs", at: 1)
        for number in 0 ..< 5 { try job("e\(number)", at: Double(10 + number), owner: gone) }
        let removed = JobFolder.prune(in: root, keeping: 2)
        #expect(removed.count == 3)
        let left = JobFolder.all(in: root).map { $0.name.prefix { $0 != "-" } }
        #expect(left == ["e4", "e3", "runs"])
        #expect(JobFolder.prune(in: root, keeping: 0).count == 2)
    }

    @Test func `a job of another machine is neither taken for one of ours nor removed`() throws {
        let folder = try job("a", at: 1, node: "another-machine")
        #expect(JobWatch.running(in: root).isEmpty)
        #expect(JobFolder.prune(in: root, keeping: 0).isEmpty)
        #expect(try JobWatch.report(of: folder).state == "on another-machine")
    }

    @Test func `what is no job's folder is never removed`() throws {
        let gone = try gone()
        let outside = try LaunchTests.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: outside) }
        try Data("model: m".utf8).write(to: outside.appending(path: "job.yaml"))
        for (name, file) in [
            ("notes", "job.yaml"), ("local-20260101T000000-1x", "job.yaml"),
            ("local-20260101T000000-999999999", "other"),
        ] {
            let folder = root.appending(path: name)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data().write(to: folder.appending(path: file))
        }
        try FileManager.default.createSymbolicLink(
            at: root.appending(path: "link-20260101T000000-999999999"), withDestinationURL: outside)
        try job("ended", at: 1, owner: gone)
        #expect(JobFolder.prune(in: root, keeping: 0).map { $0.name.prefix(5) } == ["ended"])
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: root.path(percentEncoded: false))
                .count == 4)
        #expect(
            FileManager.default.fileExists(
                atPath: outside.appending(path: "job.yaml").path(percentEncoded: false)))
    }

    @Test func `a folder that its launcher has just made is not taken for an ended job's`() throws {
        let job = try JobConfiguration(yaml: "model: m", path: "a")
        let folder = try JobFolder.make(for: job, in: root)
        #expect(folder.isRunning)
        #expect(JobFolder.prune(in: root, keeping: 0).isEmpty)
    }

    @Test func `few traces are kept, and each is whole`() throws {
        let folder = try job("tale", at: 1)
        var last = folder.url
        for second in 0 ..< 6 {
            last = try folder.keep(
                trace: Data("\(second)".utf8), now: Date(timeIntervalSince1970: Double(second)))
        }
        #expect(try Data(contentsOf: last) == Data("5".utf8))
        let traces = last.deletingLastPathComponent().path(percentEncoded: false)
        #expect(try FileManager.default.contentsOfDirectory(atPath: traces).count == 3)
        folder.remove()
        try Data().write(to: folder.url)
        #expect(throws: ClusterError.self) { try folder.keep(trace: Data()) }
    }

    @Test func `a trace is read from the job's folder, whatever path is named`() throws {
        let folder = try job("tale", at: 1)
        let kept = try folder.keep(trace: Data("{}".utf8))
        let found = try folder.trace(at: kept.path(percentEncoded: false))
        #expect(try Data(contentsOf: found) == Data("{}".utf8))
        let elsewhere = try folder.trace(at: "/etc/trace-20260101T000000.000Z.json")
        #expect(elsewhere.deletingLastPathComponent() == kept.deletingLastPathComponent())
        for path in ["", "/", "..", "/etc/passwd", "trace-.json", "trace-1.json/.."] {
            #expect(throws: ClusterError.self, "\(path)") { try folder.trace(at: path) }
        }
    }

    @Test func `last events go beside the job file in a job's folder, else by name`() throws {
        let folder = try job("tale", at: 1)
        let file = folder.configuration.path(percentEncoded: false)
        let beside = JobFolder.flight(jobFile: file, name: "tale").path(percentEncoded: false)
        #expect(beside == folder.url.appending(path: "flight").path(percentEncoded: false))
        let other = root.appending(path: "job.yaml").path(percentEncoded: false)
        let away = JobFolder.flight(jobFile: other, name: "tale").path(percentEncoded: false)
        #expect(away.hasSuffix("/flight/tale") && !away.contains("tale-"))
    }
}
