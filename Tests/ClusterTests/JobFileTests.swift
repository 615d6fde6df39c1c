import Foundation
import Testing
import Topology

@testable import Cluster

@Suite struct JobFileTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../cluster").standardized

    @Test func `the local job loads, and its model path begins at its file`() throws {
        let job = try JobConfiguration(
            contentsOf: Self.folder.appending(path: "local.yaml").path(percentEncoded: false))
        #expect(job.ranks >= 2)
        #expect(job.serving?.model.hasPrefix(Self.folder.path(percentEncoded: false)) == true)
    }

    @Test func `what is left out keeps its default`() throws {
        let job = try JobConfiguration(
            yaml: "model: m\nranks: 3\ndeadlines: {loadSeconds: 7}", path: "job.yaml")
        #expect(job.ranks == 3)
        #expect(job.deadlines.loadSeconds == 7)
        #expect(job.deadlines.joinSeconds == 60)
        #expect(job.control.address == "127.0.0.1")
    }

    @Test func `a job that goes on without a rank waits less long for one that is silent`() throws {
        func silence(_ lines: String) throws -> Double {
            try JobConfiguration(yaml: lines, path: "job.yaml").deadlines.silenceSeconds
        }
        #expect(try silence("model: m") == 1.75)
        #expect(try silence("model: m\ndeadlines: {silenceSeconds: 5}") == 5)
        #expect(try silence("model: m\nonLostRank: end\ndeadlines: {joinSeconds: 9}") == 5)
        #expect(try silence("train: {file: f}") == 5)
        let whole = try JobConfiguration(yaml: "model: m\nrestart: never", path: "job.yaml")
        #expect(try JobConfiguration(yaml: whole.yaml(), path: "again") == whole)
    }

    @Test(arguments: [
        ("ranks: 2", "model is missing"),
        ("model: m\nranks: 0", "ranks 0 is not 1 to 1024"),
        ("model: m\nthreads: 257", "threads 257 is not 1 to 256"),
        ("model: m\nranks: two", "ranks is not a whole number"),
        ("model: m\nrank: 2", "unknown key \"rank\""),
        ("model: m\ndeadlines: {join: 2}", "unknown key \"deadlines.join\""),
        ("model: m\ndeadlines: 5", "deadlines is not a mapping"),
        ("model: m\ndeadlines: {joinSeconds: -1}", "deadlines.joinSeconds -1.0"),
        ("model: m\ndeadlines: {silenceSeconds: 0.1}", "below 1"),
        ("model: m\ndeadlines: {coordinatorSeconds: 2}", "coordinatorSeconds 2.0 is neither 0 nor"),
        ("model: m\ntransport: pigeon", "transport \"pigeon\" is unknown: auto, shm"),
        ("model: m\nhttp: {port: 70000}", "http.port 70000"),
        ("model: m\nonLostRank: stop", "onLostRank \"stop\" is unknown: continue, end"),
        ("model: m\nrestart: 3", "restart is not"),
        ("model: m\nrestart: once", "restart \"once\" is unknown: onFailure, always, never"),
        ("train: {file: f}\nrestart: never", "restart is of a job that serves"),
        ("model: m\nname: a/b", "name \"a/b\""),
        ("model: m\nranks: .nan", "ranks is nan, which is neither text, number"),
        ("model: m\ndeadlines: {drainSeconds: .inf}", "deadlines.drainSeconds is inf, which"),
        ("model: m\nname: 2026-11-30", "name is 2026-11-30"),
        ("model: m\nengine: {stepTokens: .nan}", "engine.stepTokens is nan"),
        ("model: m\ngroups: [{role: serve, ranks: .nan}]", "groups[0].ranks is nan"),
        ("model: m\nranks: 1.5", "ranks 1.5 is not a whole number"),
        ("model: m\nhttp: {port: 80.5}", "http.port 80.5 is not a whole number"),
        (
            "model: m\ndeadlines: {joinSeconds: 0.5}\nlimits: {cacheTokens: 1e30}",
            "limits.cacheTokens 1e+30 is not a whole number of 64 bits"
        ),
        (
            "model: m\ngroups: [{role: serve, ranks: 1}, {role: serve, name: b, ranks: 0.5}]",
            "groups[1].ranks 0.5 is not a whole number"
        ),
        ("- a", "not a mapping"),
        ("model: m\ntransport: loopback", "transport \"loopback\" is unknown: auto, shm"),
        ("model: m\ngroups: 3", "groups is not a list"),
        ("model: m\ngroups: [3]", "groups[0] is not a mapping"),
        ("model: m\ngroups: [{role: serve}]", "groups[0].ranks is missing"),
        ("model: m\ngroups: [{ranks: 2}]", "groups[0].role is missing"),
        ("model: m\ngroups: [{role: serve, ranks: 0}]", "groups[0].ranks 0 is not 1 to 1024"),
        (
            "model: m\ngroups: [{role: serve, ranks: 1}, {role: serve, ranks: 2}]",
            "groups[1].name \"serve\" names another group too"
        ),
        (
            "model: m\ngroups: [{role: prefill, ranks: 2}]",
            "no group of groups has the role decode"
        ),
        (
            "model: m\ngroups: [{role: decode, ranks: 2}]",
            "no group of groups has the role prefill"
        ),
        (
            "model: m\ngroups: [{role: prefill, ranks: 1}, {role: decode, ranks: 1},"
                + " {role: serve, ranks: 1}]",
            "groups[2].role serve stands beside prefill and decode"
        ),
        (
            "model: m\ngroups: [{role: prefill, ranks: 1}, {role: decode, ranks: 65}]",
            "1 ranks prefill and 65 decode: each is linked to all of the other role"
        ),
        (
            "model: m\nranks: 3\nrebalanceRoles: 5",
            "rebalanceRoles: no group of this job has the role"
        ),
        (
            "model: m\nrebalanceRoles: 0.5\ngroups: [{role: prefill, ranks: 1},"
                + " {role: decode, ranks: 1}]", "rebalanceRoles 0.5 is neither 0 nor 1 to 86400"
        ),
        (
            "model: m\nrebalanceRoles: 5\ngroups: [{role: prefill, ranks: 1},"
                + " {role: decode, ranks: 2}]", "rebalanceRoles: each role has one group"
        ),
        (
            "model: m\nrebalanceRoles: 5\ngroups: [{role: prefill, ranks: 40},"
                + " {role: decode, ranks: 40}, {role: decode, name: b, ranks: 20}]",
            "rebalanceRoles: 80 ranks may come to have one role"
        ),
        ("rebalanceRoles: 5\ntrain: {file: t}", "rebalanceRoles is of a job that serves"),
        (
            "model: m\ngroups: [{role: expert, ranks: 2}]",
            "groups[0].role \"expert\" is not known to this version; known: serve, prefill,"
                + " decode, train"
        ),
        (
            "model: m\ngroups: [{role: train, ranks: 2}]",
            "groups[0].role train: the ranks of this job serve"
        ),
        (
            "model: m\nranks: 3\ngroups: [{role: serve, ranks: 2}]",
            "ranks 3 differs from the 2 of its groups"
        ),
        (
            "model: m\ngroups: [{role: serve, ranks: 2, size: 1}]",
            "unknown key \"groups[0].size\"; known: name, ranks, role"
        ),
        ("model: m\ntrain: {file: t}", "model is of a job that serves, train.file of one"),
        ("train: {settings: {steps: 1}}", "train.file is missing"),
        ("training: {steps: 1}", "model, the training file of a job with training, is missing"),
        ("model: m\ntraining: 3", "training is not a mapping"),
        ("model: m\ntraining: {steps: 1}\ntrain: {file: t}", "train and training: the second"),
        ("model: [", "bad.yaml: "),
    ])
    func `a bad job is refused with the file, the field and the limit`(yaml: String, words: String)
    {
        let error = #expect(throws: ClusterError.self) {
            try JobConfiguration(yaml: yaml, path: "bad.yaml")
        }
        #expect("\(error!)".hasPrefix("bad.yaml: "))
        #expect("\(error!)".contains(words))
        #expect(error?.exitStatus == .badInput)
    }

    @Test func `a training job of the version before is read as one of today`() throws {
        let former = try JobConfiguration(
            yaml: "model: /t.yaml\nranks: 2\ntraining: {resumes: true}", path: "a")
        let today = try JobConfiguration(
            yaml: "ranks: 2\ntrain: {file: /t.yaml, settings: {resumes: true}}", path: "a")
        #expect(former == today)
    }

    @Test func `aliases that stand for few values are read`() throws {
        let job = try JobConfiguration(
            yaml: "model: m\ntransport: &t tcp\ndevice: *t", path: "a")
        #expect(job.device == "tcp")
    }

    @Test func `aliases that stand for billions of values are refused before they are followed`() {
        var lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        for level in 1 ... 9 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            lines.append("a\(level): &a\(level) [\(aliases)]")
        }
        let error = #expect(throws: ClusterError.self) {
            try JobConfiguration(yaml: lines.joined(separator: "\n"), path: "bomb.yaml")
        }
        #expect("\(error!)".hasPrefix("bomb.yaml: its YAML stands for more than 100000 values"))
    }

    @Test func `a device without end is read up to the limit of a job file`() {
        let error = #expect(throws: ClusterError.self) {
            try JobConfiguration(contentsOf: "/dev/zero")
        }
        #expect("\(error!)".hasPrefix("/dev/zero: it has more than 1048576 bytes"))
    }

    @Test func `a job that comes through a pipe is read`() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("model: /m".utf8))
        try pipe.fileHandleForWriting.close()
        let path = "/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)"
        #expect(try JobConfiguration(contentsOf: path).serving?.model == "/m")
    }

    @Test func `paths of the API begin at the job file`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-paths-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "job.yaml")
        try Data(
            """
            model: m
            api:
              keyFile: keys.yaml
              batchFolder: ""
              accessLog: {file: logs/access, files: 3}
              tls: {certificate: /etc/c.pem, key: ../key.pem}
              cors: [keys.yaml]
            """.utf8
        ).write(to: file)
        let api = try JobConfiguration(contentsOf: file.path(percentEncoded: false)).serving?.api
        func path(_ name: String) -> String {
            folder.appending(path: name).standardizedFileURL.path(percentEncoded: false)
        }
        #expect(
            api == [
                "keyFile": .text(path("keys.yaml")), "batchFolder": .text(""),
                "accessLog": .mapping(["file": .text(path("logs/access")), "files": .integer(3)]),
                "tls": .mapping([
                    "certificate": .text("/etc/c.pem"), "key": .text(path("../key.pem")),
                ]),
                "cors": .list([.text("keys.yaml")]),
            ])
    }

    @Test func `ranks is the short form of one group that serves`() throws {
        let short = try JobConfiguration(yaml: "model: m\nranks: 4", path: "a")
        let long = try JobConfiguration(
            yaml: "model: m\ngroups: [{role: serve, ranks: 4}]", path: "a")
        #expect(short == long)
        #expect(short.groups == .one(.serve, rankCount: 4))
    }

    @Test func `groups that serve one model follow each other`() throws {
        var job = try JobConfiguration(
            yaml: """
                model: m
                groups: [{name: a, role: serve, ranks: 2}, {name: b, role: serve, ranks: 1}]
                """, path: "a")
        #expect(job.ranks == 3)
        #expect(job.groups.group(of: 2).group.name == "b")
        let error = #expect(throws: ClusterError.self) { try job.resize(ranks: 4) }
        #expect("\(error!)".contains("groups (a, b)"))
        #expect(try JobConfiguration(yaml: job.yaml(), path: "b") == job)
    }

    @Test func `a job that trains reads back as itself`() throws {
        var job = JobConfiguration()
        job.work = .train(TrainingWork(file: "/t.yaml", settings: ["resumes": .flag(true)]))
        job.groups = .one(.train, rankCount: 2)
        #expect(try JobConfiguration(yaml: job.yaml(), path: "b") == job)
        #expect(job.serving == nil)
    }

    @Test func `the resolved job reads back as itself`() throws {
        var job = try JobConfiguration(
            yaml: "model: m\nengine: {speculates: false, runningLimit: 3}", path: "a")
        job.device = "eth0"
        #expect(try JobConfiguration(yaml: job.yaml(), path: "b") == job)
    }

    struct Settings: Codable, Equatable {
        var count = 1
        var ratio = 0.5
        var isOn = true
        var inner = Inner()
        var names = ["a"]
    }

    struct Inner: Codable, Equatable {
        var limit = 3
        var name = "n"
    }

    @Test func `settings of another room are put over its defaults`() throws {
        let written: [String: SettingValue] = [
            "count": .integer(4), "isOn": .flag(false),
        ]
        let settings = try written.applied(to: Settings(), section: "engine")
        #expect(settings == Settings(count: 4, ratio: 0.5, isOn: false))
        let nested: [String: SettingValue] = ["inner": .mapping(["limit": .integer(9)])]
        #expect(
            try nested.applied(to: Settings(), section: "api").inner == Inner(limit: 9, name: "n"))
        let whole: [String: SettingValue] = ["ratio": .integer(2)]
        #expect(try whole.applied(to: Settings(), section: "engine").ratio == 2)
    }

    @Test(
        arguments: [
            (
                ["cuont": .integer(1)],
                "unknown key \"engine.cuont\"; known: count, inner, isOn, names, ratio"
            ),
            (
                ["inner": .mapping(["x": .integer(1)])],
                "unknown key \"engine.inner.x\"; known: limit, name"
            ),
            (["count": .text("many")], "engine: count is not a whole number"),
            (
                ["count": .number(2.5), "ratio": .number(0.25)],
                "engine: count 2.5 is not a whole number of 64 bits"
            ),
        ] as [([String: SettingValue], String)])
    func `a setting the room does not have is refused`(
        written: [String: SettingValue], words: String
    ) {
        let error = #expect(throws: ClusterError.self) {
            try written.applied(to: Settings(), section: "engine")
        }
        #expect("\(error!)" == words)
    }

    @Test func `the JSON Schema knows exactly the fields of a job`() throws {
        let bytes = try Data(contentsOf: Self.folder.appending(path: "job.schema.json"))
        let schema = try #require(
            try JSONSerialization.jsonObject(with: bytes) as? [String: Any])
        let job = try #require(
            try JSONSerialization.jsonObject(with: JSONEncoder().encode(JobFile()))
                as? [String: Any])
        try compare(schema, job, at: "")
    }

    private func compare(_ schema: [String: Any], _ value: [String: Any], at place: String) throws {
        let properties = try #require(schema["properties"] as? [String: [String: Any]])
        if ["engine.", "api.", "train.settings."].contains(place) { return }
        #expect(Set(properties.keys) == Set(value.keys), "\(place)")
        for (key, inner) in value {
            let described = try #require(properties[key]?["description"] as? String)
            #expect(!described.isEmpty)
            if let inner = inner as? [String: Any], let property = properties[key],
                property["properties"] != nil
            {
                try compare(property, inner, at: "\(place)\(key).")
            }
        }
    }
}
