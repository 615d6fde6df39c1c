import Foundation
import Testing

@testable import Cluster

/// Hosts as job files, hostfiles and Slurm write them, and the secret that they share.
@Suite struct HostListTests {
    @Test(arguments: [
        ("a", ["a"]), ("n[01-03]", ["n01", "n02", "n03"]),
        ("node[1,08-10],b", ["node1", "node08", "node09", "node10", "b"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a, b", ["a", "b"]), ("n[9223372036854775807]", ["n9223372036854775807"]),
    ])
    func `a list names every host`(text: String, hosts: [String]) throws {
        #expect(try HostList.expand(text, source: "hosts") == hosts)
    }

    @Test(arguments: [
        "n[1-", "n]1", "n[3-1]", "n[a-b]", "a,,b", "", "n[]", "n[1-2000]", "n[[1]]",
        "n[0-999999999999999999]", "n[1-2-3]", "n[9-9223372036854775807]",
        "n[1-1024][1-1024][1-1024]", "n[9223372036854775808]",
    ])
    func `what is no list is named`(text: String) {
        #expect {
            try HostList.expand(text, source: "hosts")
        } throws: {
            "\($0)".hasPrefix("hosts \"\(text)\"")
        }
    }

    private static func hosts(_ yaml: String) throws -> JobConfiguration {
        try JobConfiguration(yaml: "model: m\n" + yaml, path: "a.yaml")
    }

    @Test func `hosts count the ranks where the job does not`() throws {
        let job = try Self.hosts("hosts: [me@a, 'b:3']")
        #expect(job.ranks == 4)
        #expect(job.hosts.map(\.destination) == ["me@a", "b"])
        #expect(job.hosts.map(\.ranks) == [1, 3])
    }

    @Test func `ranks of a job are shared out evenly`() throws {
        #expect(try Self.hosts("ranks: 8\nhosts: n[1-4]").hosts.map(\.ranks) == [2, 2, 2, 2])
    }

    @Test func `a host may differ from the others`() throws {
        let job = try Self.hosts(
            """
            hosts:
              - {name: a, address: 10.0.0.1, model: /m, ranks: 2, environment: {X: 1, Y: z}}
              - n[1-2]
            """)
        #expect(job.ranks == 4)
        #expect(job.hosts[0].environment == ["X": "1", "Y": "z"])
        // What is kept in the job's folder is the same job.
        #expect(try JobConfiguration(yaml: job.yaml(), path: "b.yaml") == job)
    }

    @Test(arguments: [
        ("hosts: [a, a]", "a stands there twice"),
        ("ranks: 3\nhosts: [a, b]", "ranks 3 cannot be shared out evenly among 2 hosts"),
        ("ranks: 3\nhosts: ['a:1', 'b:1']", "the job has 3 ranks; its hosts have 2"),
        ("hosts: ['-oProxyCommand=x']", "is not a name or an address"),
        ("hosts: [{name: a, rank: 2}]", "unknown key \"hosts[0].rank\""),
        ("hosts: [{ranks: 2}]", "hosts[0].name is missing"),
        ("hosts: 3", "hosts is neither a list nor text"),
        ("lab: x.yaml\nhosts: [a]", "lab and hosts"),
        ("hosts: [a]\nssh: {comand: x}", "unknown key \"ssh.comand\""),
        ("hosts: [{name: a, environment: {APUS_TOKEN: x}}]", "is not a variable for ranks"),
        ("hosts: [{name: a, model: m}]", "host a: model \"m\" does not begin with /"),
        ("hosts: [{name: a, environment: {'X;reboot': x}}]", "is not a variable for ranks"),
        ("hosts: ['a:9223372036854775807', 'b:1']", "host a: ranks 9223372036854775807 is not 1"),
    ])
    func `hosts that cannot be used are named`(yaml: String, words: String) {
        #expect {
            try Self.hosts(yaml)
        } throws: {
            "\($0)".contains(words)
        }
    }

    @Test func `a hostfile of Open MPI is read`() throws {
        let hosts = try JobHost.readHostfile(
            "# two nodes\na slots=2\n\nb slots=4 max_slots=8 # big\nme@c\n", path: "hosts")
        #expect(hosts.map(\.name) == ["a", "b", "c"] && hosts.map(\.ranks) == [2, 4, 1])
        #expect {
            try JobHost.readHostfile("a slot=2", path: "hosts")
        } throws: {
            "\($0)".contains("hosts:1: \"slot=2\" is not slots=N")
        }
    }

    // MARK: The secret

    @Test func `a token file is read if its owner alone can read it`() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "token-\(UUID())")
        let path = file.path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(at: file) }
        let token = ControlToken.random()
        try Data((token.text + "\n").utf8).write(to: file)
        func setMode(_ mode: Int) throws {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        try setMode(0o600)
        var job = JobConfiguration()
        job.tokenFile = path
        #expect(try ControlToken(for: job, environment: [:]) == token)
        #expect(
            try ControlToken(for: JobConfiguration(), environment: ["APUS_TOKEN_FILE": path])
                == token)
        try setMode(0o640)
        // A credential of systemd shows the rights of its access list as those of a group.
        let folder = file.deletingLastPathComponent().path(percentEncoded: false)
        let plain = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        let ours = ["CREDENTIALS_DIRECTORY": plain]
        #expect(try ControlToken(for: job, environment: ours) == token)
        #expect {
            try ControlToken(for: job, environment: [:])
        } throws: {
            "\($0)".contains("has mode 0640, so that others may use it: chmod 600 \(path)")
        }
    }

    @Test func `a folder is no token file, and no token has a remedy`() {
        var job = JobConfiguration()
        #expect {
            try ControlToken(for: job, environment: [:])
        } throws: {
            "\($0)".contains("umask 077; openssl rand -hex 32 > token")
        }
        job.tokenFile = "/tmp"
        #expect {
            try ControlToken(for: job, environment: [:])
        } throws: {
            "\($0)" == "token file /tmp is not a regular file"
        }
    }
}
