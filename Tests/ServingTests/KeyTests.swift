import Foundation
import Testing

@testable import Serving

/// Keys of the API as values: their file, their limits, and how they are compared.
@Suite struct KeyTests {
    static let alice = "a-long-secret-of-alice"
    static let bob = "a-long-secret-of-bob"

    /// A file of keys that its owner alone may use.
    static func write(_ text: String, _ folder: AccessLogTests.Folder) throws -> String {
        let path = folder.path("keys")
        try Data(text.utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        return path
    }

    // MARK: The file

    @Test func `a file names keys, their limits and its admins`() throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write(
            """
            # who may use this server
            alice: \(Self.alice)
            bob: {key: "\(Self.bob)", requestsPerMinute: 60, tokensPerMinute: 2000, textsAtOnce: 4}
            operator: {key: 0123456789012345678, admin: true}
            prometheus: {key: 9876543210987654321, metrics: true}
            """, folder)
        let keys = try KeyFile.read(path)
        #expect(keys.map(\.name) == ["alice", "bob", "operator", "prometheus"])
        #expect(keys.map(\.isAdmin) == [false, false, true, false])
        #expect(keys.map(\.readsMetrics) == [false, false, false, true])
        #expect(keys[0].limits == APIKey.Limits())
        #expect(
            keys[1].limits
                == APIKey.Limits(requestsPerMinute: 60, tokensPerMinute: 2000, textsAtOnce: 4))
        #expect(keys[2].matches(Array("0123456789012345678".utf8)))
        #expect(try OpenAIServerConfiguration.adminKey(in: path) == "0123456789012345678")
    }

    @Test(arguments: [
        ("", "is not a list of lines"), ("- a", "is not a list of lines"), ("{}", "has no key"),
        ("alice: short", "line 1: its key does not have 16 to 512"),
        ("alice: \"sixteen letters and a space\"", "does not have 16 to 512 visible"),
        ("a b: SECRET-SECRET-SECRET", "line 1: a name has 1 to 64"),
        ("x: SECRET-SECRET-SECRET\nx: OTHER-SECRET-SECRET", "names a key twice"),
        (
            "x: SECRET-SECRET-SECRET\ny: SECRET-SECRET-SECRET",
            "line 2 has the key of an earlier line"
        ),
        ("x: {key: SECRET-SECRET-SECRET, rate: 1}", "line 1: a key has one of key, admin"),
        ("x: {admin: true}", "line 1 has no key"),
        ("x: {key: SECRET-SECRET-SECRET, admin: maybe}", "neither true nor false"),
        ("x: {key: SECRET-SECRET-SECRET, tokensPerMinute: 0}", "tokensPerMinute is not 1 to"),
        ("x: {key: SECRET-SECRET-SECRET, textsAtOnce: -1}", "textsAtOnce is not 1 to"),
        ("x: [SECRET-SECRET-SECRET]", "has neither a key nor a mapping"),
        ("SECRET-SECRET-SECRET: alice", "line 1: its key does not have 16 to 512"),
        ("SECRET-SECRET-SECRET: {key: x}", "line 1: its key does not have 16 to 512"),
        ("0123456789abcdef0123456789abcDEF: SECRET-SECRET-SECRET", "line 1: a name has"),
        ("x: {key: SECRET-SECRET-SECRET, metrics: 1}", "line 1: metrics is neither true nor"),
        ("x: {key: SECRET-SECRET-SECRET", "is no YAML: line"),
        ("x: \"SECRET-SECRET-SECRET", "is no YAML: line"),
        ("a: &a [SECRET,SECRET]\nb: *missing", "is no YAML"),
    ])
    func `a wrong file is refused with its line, and never with a key`(
        text: String, fact: String
    ) throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write(text, folder)
        let error = #expect(throws: ServingError.self) { try KeyFile.read(path) }
        let message = error?.message ?? ""
        #expect(message.contains("keyFile \(path)") && message.contains(fact), "\(message)")
        #expect(!message.contains("SECRET"), "\(message)")
    }

    @Test func `a file of keys that stands for billions of values is refused`() throws {
        let folder = try AccessLogTests.Folder()
        let levels = (1 ..< 30).map { "l\($0): &l\($0) [*l\($0 - 1),*l\($0 - 1),*l\($0 - 1)]" }
        let path = try Self.write("l0: &l0 [x,x,x]\n" + levels.joined(separator: "\n"), folder)
        let error = #expect(throws: ServingError.self) { try KeyFile.read(path) }
        #expect(error?.message.contains("stands for more than") == true)
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o644])
    func `a file that others may use is refused with the remedy`(mode: Int) throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write("alice: \(Self.alice)", folder)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let error = #expect(throws: ServingError.self) { try KeyFile.read(path) }
        #expect(error?.message.contains("chmod 600 \(path)") == true)
    }

    @Test func `a folder, and a file that is not there, are no file of keys`() throws {
        let folder = try AccessLogTests.Folder()
        for (path, fact) in [
            ("/tmp", "is not a regular file"), (folder.path("no"), "cannot be read"),
        ] {
            let error = #expect(throws: ServingError.self) { try KeyFile.read(path) }
            #expect(error?.message.contains(fact) == true, "\(error?.message ?? "")")
        }
    }

    // MARK: Comparing

    /// Bytes that count how often one of them is read.
    private final class CountedBytes: RandomAccessCollection {
        private let bytes: [UInt8]
        private(set) var reads = 0

        init(_ text: String) { bytes = Array(text.utf8) }

        var startIndex: Int { bytes.startIndex }
        var endIndex: Int { bytes.endIndex }
        subscript(position: Int) -> UInt8 {
            reads += 1
            return bytes[position]
        }
    }

    @Test func `a key is compared to its end wherever the first difference is`() {
        let key = APIKey(name: "alice", secret: Self.alice)
        let count = Self.alice.utf8.count
        for index in 0 ..< count {
            var letters = Array(Self.alice)
            letters[index] = "#"
            let given = CountedBytes(String(letters))
            #expect(!key.matches(given) && given.reads == count)
        }
        let right = CountedBytes(Self.alice)
        #expect(key.matches(right) && right.reads == count)
        let others = [
            "", "a", String(Self.alice.dropLast()), Self.alice + "x", Self.alice + Self.alice,
        ]
        for other in others {
            #expect(!key.matches(Array(other.utf8)), "\(other)")
        }
    }

    @Test(arguments: ["", "a b", "a\n", "\u{E9}"])
    func `a key that no header can carry is refused, and an empty one opens nothing`(
        secret: String
    ) throws {
        var configuration = OpenAIServerConfiguration()
        configuration.keys = ["right", secret]
        let error = #expect(throws: ServingError.self) { try configuration.validate() }
        #expect(error?.message.hasPrefix("keys[1] has \(secret.utf8.count) bytes") == true)
        let empty = APIKey(number: 0, secret: "")
        #expect(!empty.matches([]) && !empty.matches([0]))
        let ring = try KeyRing([""], file: "", log: AccessLogTests.quiet)
        #expect(!ring.isOpen && ring.entry(for: "Bearer ") == nil)
    }

    // MARK: Whose things are

    @Test func `what a named key made stays with its name, what an unnamed one made with itself`() {
        let old = APIKey(name: "alice", secret: Self.alice)
        let replaced = APIKey(name: "alice", secret: Self.bob)
        let renamed = APIKey(name: "alicia", secret: Self.alice)
        #expect(old.owner == replaced.owner && old.owner != renamed.owner)
        let first = APIKey(number: 0, secret: Self.alice)
        #expect(first.owner == APIKey(number: 3, secret: Self.alice).owner)
        #expect(first.owner != APIKey(number: 0, secret: Self.bob).owner)
        #expect(first.owner != old.owner)
    }

    // MARK: Changes

    @Test func `a file that changes is read again, and a broken one changes nothing`() throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write("alice: \(Self.alice)", folder)
        let ring = try KeyRing([], file: path, log: AccessLogTests.quiet)
        let usage = try #require(ring.entry(for: "Bearer \(Self.alice)")).usage
        usage.charge(tokens: 7)
        _ = try Self.write("alice: \(Self.alice)\nbob: {key: \(Self.bob), admin: true}", folder)
        ring.readAgain()
        #expect(ring.entry(for: "Bearer \(Self.bob)")?.key.name == "bob" && ring.hasAdmin)
        // Whoever had used something still has.
        #expect(ring.entry(for: "Bearer \(Self.alice)")?.usage.counts.tokens == 7)
        for broken in ["", "bob: short", "- x"] {
            _ = try Self.write(broken, folder)
            ring.readAgain()
            #expect(ring.entries.map(\.key.name) == ["alice", "bob"])
        }
        try FileManager.default.removeItem(atPath: path)
        ring.readAgain()
        #expect(ring.entries.count == 2 && !ring.isOpen)
        _ = try Self.write("carol: \(Self.alice)", folder)
        ring.readAgain()
        #expect(ring.entries.map(\.key.name) == ["carol"] && !ring.hasAdmin)
        #expect(ring.entry(for: "Bearer \(Self.bob)") == nil)
    }

    @Test func `a file is another one when it is written, replaced, made or removed`() throws {
        let folder = try AccessLogTests.Folder()
        let watch = FileWatch([folder.path("a"), folder.path("b")])
        // Two polls must agree, and a change counts once.
        func sees() -> Bool { !watch.isDue() && watch.isDue() && !watch.isDue() }
        #expect(!watch.isDue())
        try Data("one".utf8).write(to: URL(filePath: folder.path("a")))
        #expect(sees())
        try Data("three".utf8).write(to: URL(filePath: folder.path("a")))
        #expect(sees())
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("b"), withDestinationPath: folder.path("a"))
        #expect(sees())
        // As Kubernetes gives a new secret: what the link leads to is another file.
        try Data("three".utf8).write(to: URL(filePath: folder.path("c")))
        try FileManager.default.removeItem(atPath: folder.path("b"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("b"), withDestinationPath: folder.path("c"))
        #expect(sees())
        try FileManager.default.removeItem(atPath: folder.path("b"))
        #expect(sees())
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o620], ofItemAtPath: folder.path("a"))
        #expect(sees())
        // What changes again between two polls is still being written.
        try Data("seven".utf8).write(to: URL(filePath: folder.path("a")))
        #expect(!watch.isDue())
        try Data("seven and".utf8).write(to: URL(filePath: folder.path("a")))
        #expect(sees())
    }

    @Test func `what was refused is read again now and then, and told once`() throws {
        let folder = try AccessLogTests.Folder()
        let watch = FileWatch([folder.path("a")])
        #expect(watch.refused("a clock") && !watch.refused("a clock"))
        for _ in 1 ..< FileWatch.pollsPerTry { #expect(!watch.isDue()) }
        #expect(watch.isDue())
        #expect(watch.refused("a folder") && !watch.isDue())
        watch.taken()
        for _ in 0 ... FileWatch.pollsPerTry { #expect(!watch.isDue()) }
        #expect(watch.refused("a folder"))
    }

    @Test func `a file that others may read is refused, and taken once they may not`() async throws
    {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write("alice: \(Self.alice)", folder)
        let ring = try KeyRing([], file: path, log: AccessLogTests.quiet)
        try Data("bob: \(Self.bob)".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        for _ in 0 ..< 40 {
            ring.poll()
            try await Task.sleep(for: .milliseconds(5))
            #expect(ring.entries.map(\.key.name) == ["alice"])
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let limit = ContinuousClock.now + .seconds(20)
        while ring.entries.map(\.key.name) != ["bob"] {
            try #require(ContinuousClock.now < limit)
            ring.poll()
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test func `a key that comes back has used what it had used`() throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write("alice: \(Self.alice)", folder)
        let ring = try KeyRing([], file: path, log: AccessLogTests.quiet)
        ring.entries.first?.usage.charge(tokens: 7)
        for name in ["bob", "carol", "alice"] {
            _ = try Self.write("\(name): \(Self.alice)", folder)
            ring.readAgain()
        }
        #expect(ring.entries.map(\.key.name) == ["alice"])
        #expect(ring.entries.first?.usage.counts.tokens == 7)
    }

    @Test func `keys of the settings stay beside those of the file`() throws {
        let folder = try AccessLogTests.Folder()
        let path = try Self.write("alice: \(Self.alice)", folder)
        let ring = try KeyRing(["plain"], file: path, log: AccessLogTests.quiet)
        #expect(ring.entry(for: "Bearer plain")?.key.name == "keys[0]")
        for wrong in ["plain", "Bearer ", "bearer plain", "Bearer plain ", "", "Bearer keys[0]"] {
            #expect(ring.entry(for: wrong) == nil, "\(wrong)")
        }
        #expect(try KeyRing([], file: "", log: AccessLogTests.quiet).isOpen)
    }
}
