import Encoding
import Foundation
import Testing

@testable import Cluster

/// Programs that a launcher sends to hosts, by a program in the place of ssh that runs the host's
/// command on this machine, in a home of its own for each host.
@Suite struct ProgramTransferTests {
    /// A folder with programs, homes of hosts and what stands for ssh.
    private struct Place {
        let root: URL
        var programs: URL { root.appending(path: "bin") }

        init() throws {
            root = try LaunchTests.temporaryFolder()
            for name in ["bin", "homes", "tools"] {
                try FileManager.default.createDirectory(
                    at: root.appending(path: name), withIntermediateDirectories: false)
            }
            // More than a pipe and a piece of a file hold.
            try write("bin/apus", Data((0 ..< 700_000).map { UInt8(truncatingIfNeeded: $0 / 7) }))
            try write("bin/apus-worker", Data((0 ..< 300_000).map { UInt8($0 % 251) }))
            try script(
                "ssh",
                """
                while [ "$1" != -- ]; do shift; done
                unset XDG_CACHE_HOME
                export HOME="\(path("homes"))/$2" PATH="\(path("tools")):$PATH"
                exec sh -c "$3"
                """)
        }

        func path(_ name: String) -> String {
            root.appending(path: name).path(percentEncoded: false)
        }

        func write(_ name: String, _ bytes: Data) throws {
            let file = root.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try bytes.write(to: file)
        }

        /// Bytes of a file; nil where there is none.
        func read(_ name: String) -> Data? { try? Data(contentsOf: root.appending(path: name)) }

        func script(_ name: String, _ text: String) throws {
            try write(name, Data("#!/bin/sh\n\(text)\n".utf8))
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o755], ofItemAtPath: path(name))
        }

        /// The digest of the programs one after another.
        var digest: String {
            Digest(of: [UInt8](read("bin/apus") ?? Data()) + (read("bin/apus-worker") ?? Data()))
                .text
        }

        /// Where a host keeps programs, below the root.
        func cache(_ host: String) -> String { "homes/\(host)/.cache/apus/programs" }

        /// Sends, or asks only, and returns what became of the hosts and what was said.
        func run(
            _ hosts: String, sends: Bool = true, extra: String = ""
        ) throws -> (outcomes: [String: ProgramSender.Outcome], lines: [String]) {
            let job = try JobConfiguration(
                yaml: """
                    model: m
                    hosts: \(hosts)
                    programs: copy
                    ssh: {command: \(path("ssh"))}
                    \(extra)
                    """, path: "job.yaml")
            var lines: [String] = []
            let outcomes = ProgramSender(job, programs: programs).run(
                sends: sends, stop: StopFlag()
            ) { lines.append($0) }
            return (outcomes, lines)
        }

        func end() { try? FileManager.default.removeItem(at: root) }
    }

    @Test func `hosts that lack the programs get them, and those that have them get nothing`()
        throws
    {
        let place = try Place()
        defer { place.end() }
        let first = try place.run("[h1]")
        #expect(first.lines.count == 1)
        #expect(first.lines[0].hasPrefix("programs: 1.0 MB sent to 1 host in "))
        let second = try place.run("'h[1-3]'")
        #expect(second.lines.count == 1)
        #expect(second.lines[0].hasPrefix("programs: 2.0 MB sent to 2 hosts in "))
        for host in ["h1", "h2", "h3"] {
            let programs = try #require(try second.outcomes[host]?.get())
            #expect(programs.digest == place.digest)
            #expect(programs.missingBytes == 0)
            #expect(programs.isOwn)
            let folder = "\(place.cache(host))/\(place.digest)"
            #expect(programs.folder == place.path(folder))
            for name in ["apus", "apus-worker"] {
                #expect(place.read("\(folder)/\(name)") == place.read("bin/\(name)"))
                #expect(
                    FileManager.default.isExecutableFile(atPath: place.path("\(folder)/\(name)")))
            }
        }
        #expect(try place.run("'h[1-3]'").lines.isEmpty)
    }

    @Test func `programs that are one file are sent once, with a link`() throws {
        let place = try Place()
        defer { place.end() }
        try FileManager.default.removeItem(atPath: place.path("bin/apus-worker"))
        try FileManager.default.createSymbolicLink(
            atPath: place.path("bin/apus-worker"), withDestinationPath: "apus")
        let (outcomes, lines) = try place.run("[h1]")
        #expect(lines.first?.hasPrefix("programs: 700.0 kB sent") == true)
        let folder = try #require(try outcomes["h1"]?.get().folder)
        let worker = try Data(contentsOf: URL(filePath: folder + "/apus-worker"))
        #expect(worker == place.read("bin/apus"))
    }

    @Test func `a host that is only asked says what it lacks, and nothing is written there`()
        throws
    {
        let place = try Place()
        defer { place.end() }
        let (outcomes, lines) = try place.run("[h1]", sends: false)
        let programs = try #require(try outcomes["h1"]?.get())
        #expect(programs.missingBytes == 1_000_000)
        #expect(programs.folder.isEmpty)
        #expect(lines.isEmpty)
        #expect(!FileManager.default.fileExists(atPath: place.path("homes/h1")))
    }

    @Test func `a transfer that was cut goes on where it was`() throws {
        let place = try Place()
        defer { place.end() }
        let half = try #require(place.read("bin/apus")).prefix(600_000)
        try place.write("\(place.cache("h1"))/\(place.digest).part", half)
        let (outcomes, lines) = try place.run("[h1]")
        #expect(lines.first?.hasPrefix("programs: 400.0 kB sent") == true)
        let folder = "\(place.cache("h1"))/\(place.digest)"
        #expect(try outcomes["h1"]?.get().missingBytes == 0)
        #expect(place.read("\(folder)/apus") == place.read("bin/apus"))
        #expect(place.read("\(folder)/apus-worker") == place.read("bin/apus-worker"))
        #expect(place.read("\(place.cache("h1"))/\(place.digest).part") == nil)
    }

    @Test func `programs that were changed on a host are sent again`() throws {
        let place = try Place()
        defer { place.end() }
        _ = try place.run("[h1]")
        let worker = "\(place.cache("h1"))/\(place.digest)/apus-worker"
        try place.write(worker, Data("another".utf8))
        #expect(try place.run("[h1]").lines.first?.hasPrefix("programs: 1.0 MB sent") == true)
        #expect(place.read(worker) == place.read("bin/apus-worker"))
    }

    @Test func `bytes that came wrong are an error and are not kept`() throws {
        let place = try Place()
        defer { place.end() }
        try place.write(
            "\(place.cache("h1"))/\(place.digest).part", Data(repeating: 1, count: 10))
        let wrong = try place.run("[h1]").outcomes["h1"]
        let error = #expect(throws: ClusterError.self) { try wrong?.get() }
        #expect("\(error!)".contains("host h1 (rank 0): its programs: what arrived has another"))
        #expect(try place.run("[h1]").outcomes["h1"]?.get().missingBytes == 0)
    }

    @Test func `hosts that share their home take turns, and it is sent once`() throws {
        let place = try Place()
        defer { place.end() }
        for host in ["h1", "h2", "h3"] {
            try FileManager.default.createSymbolicLink(
                atPath: place.path("homes/\(host)"), withDestinationPath: "one")
        }
        try FileManager.default.createDirectory(
            atPath: place.path("homes/one"), withIntermediateDirectories: false)
        let (outcomes, lines) = try place.run("'h[1-3]'")
        #expect(lines.last?.hasPrefix("programs: 1.0 MB sent to 1 host in ") == true)
        for outcome in outcomes.values { #expect(try outcome.get().missingBytes == 0) }
        #expect(outcomes.count == 3)
    }

    @Test func `a host of another architecture is named with the file that is missing`() throws {
        let place = try Place()
        defer { place.end() }
        try place.script("tools/uname", "echo riscv64")
        let missing = try place.run("[h1]").outcomes["h1"]
        let error = #expect(throws: ClusterError.self) { try missing?.get() }
        for words in ["host h1 (rank 0)", "riscv64", "no file apus-riscv64", "by programs"] {
            #expect("\(error!)".contains(words))
        }
        try place.write("bin/apus-riscv64", Data("foreign".utf8))
        let found = try place.run("[h1]").outcomes["h1"]
        let programs = try #require(try found?.get())
        #expect(!programs.isOwn)
        #expect(programs.architecture == "riscv64")
    }

    @Test func `an architecture that leads out of the folder names no file`() throws {
        let place = try Place()
        defer { place.end() }
        try place.write("bin/apus-x/file", Data())
        try place.script("tools/uname", "echo x/../apus")
        let outcome = try place.run("[h1]").outcomes["h1"]
        let error = #expect(throws: ClusterError.self) { try outcome?.get() }
        #expect("\(error!)".contains("its architecture is x/../apus"))
    }

    @Test(arguments: [(71, "cannot be locked"), (1, "another launch holds")])
    func `a folder that cannot be locked is an error, and no wait without end`(
        status: Int, words: String
    ) throws {
        let place = try Place()
        defer { place.end() }
        try place.script("tools/flock", "exit \(status)")
        let outcome = try place.run("[h1]").outcomes["h1"]
        let error = #expect(throws: ClusterError.self) { try outcome?.get() }
        #expect("\(error!)".contains(words))
    }

    @Test func `programs that run are noted as used, and no other folder is`() throws {
        let place = try Place()
        defer { place.end() }
        let month = Date(timeIntervalSinceNow: -30 * 86400)
        for name in [String(repeating: "a", count: 64), "bin"] {
            let folder = place.root.appending(path: name)
            try FileManager.default.createDirectory(
                at: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes(
                [.modificationDate: month], ofItemAtPath: place.path(name))
            HostPrograms.noteUse(of: folder)
            let noted = try FileManager.default.attributesOfItem(atPath: place.path(name))
            let date = try #require(noted[.modificationDate] as? Date)
            #expect((date > month.addingTimeInterval(86400)) == (name != "bin"))
        }
    }

    @Test func `a host that names a folder gets nothing`() throws {
        let place = try Place()
        defer { place.end() }
        let hosts = "[h1, {name: h2, programs: /opt/apus}]"
        #expect(try place.run(hosts).outcomes.keys.sorted() == ["h1"])
    }

    @Test func `a host that runs no shell is named with its ranks`() throws {
        let place = try Place()
        defer { place.end() }
        try place.script("ssh", "echo 'sh: not found' >&2; exit 127")
        let outcome = try place.run("[h1]").outcomes["h1"]
        let error = #expect(throws: ClusterError.self) { try outcome?.get() }
        #expect("\(error!)".contains("host h1 (rank 0): ssh exited with 127"))
    }

    @Test func `programs of other builds go once they are old and more than four`() throws {
        let place = try Place()
        defer { place.end() }
        let month = Date(timeIntervalSinceNow: -30 * 86400)
        func builds() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: place.path(place.cache("h1")))
                .filter { $0.count == 64 }.sorted()
        }
        let names = (1 ... 5).map { String(repeating: "\($0)", count: 64) }
        for (index, name) in names.enumerated() {
            try place.write("\(place.cache("h1"))/\(name)/apus", Data("old".utf8))
            let date = index < 2 ? month.addingTimeInterval(Double(index)) : Date()
            try FileManager.default.setAttributes(
                [.modificationDate: date], ofItemAtPath: place.path("\(place.cache("h1"))/\(name)"))
        }
        _ = try place.run("[h1]")
        // The two of a month ago are the fifth and the sixth.
        #expect(try builds() == (names[2...] + [place.digest]).sorted())
    }
}
