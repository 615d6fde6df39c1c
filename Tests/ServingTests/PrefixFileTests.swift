import Encoding
import Foundation
import Synchronization
import Tensors
import Testing

@testable import Serving

/// Prefixes in files: what a server computed, a later one does not compute again, and no file can
/// change a text.
@Suite struct PrefixFileTests {
    /// A folder that is gone after the body.
    static func withFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "prefixes-\(UUID().uuidString)").path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try await body(folder)
    }

    static func setting(_ folder: String, ranks: Int = 1) -> EngineRun.Setting {
        var setting = EngineRun.Setting(ranks: ranks)
        setting.prefixes = PrefixSettings(folder: folder, byteLimit: 64 << 20)
        return setting
    }

    /// Prompts of some blocks, with common beginnings.
    static func requests(_ count: Int = 6, salt: UInt64 = 0) -> [GenerationRequest] {
        (0 ..< count).map { index in
            var random = SplitMix64(seed: UInt64(index / 2))
            let stem = (0 ..< 60).map { _ in Int.random(in: 3 ..< 1000, using: &random) }
            var request = GenerationRequest(
                id: RequestID(rawValue: UInt64(index + 1)), prompt: stem + [index + 3],
                maxNewTokens: 20)
            request.ignoresEndTokens = true
            request.cacheSalt = salt
            return request
        }
    }

    /// What becomes of requests that come one after the other.
    static func outcomes(
        _ setting: EngineRun.Setting, _ requests: [GenerationRequest] = requests()
    ) async throws -> (outcomes: [EngineRun.Outcome], counts: [PrefixCounts]) {
        try await EngineRun.with(setting) { run in
            var outcomes: [EngineRun.Outcome] = []
            for request in requests { outcomes.append(try await run.outcome(request)) }
            return (outcomes, run.ranks.statistics.compactMap(\.prefixFiles))
        }
    }

    /// Files of blocks.
    static func files(_ folder: String) -> [String] {
        let names = FileManager.default.enumerator(atPath: folder)?.allObjects ?? []
        return names.compactMap { $0 as? String }.filter { $0.hasSuffix(".block") }
            .map { folder + "/" + $0 }.sorted()
    }

    @Test(arguments: [(1, 1), (2, 1), (1, 3)])
    func `a later server finds the prompts and answers of an earlier one`(
        ranks: (first: Int, second: Int)
    ) async throws {
        let expected = try await Self.outcomes(EngineRun.Setting()).outcomes.map(\.tokens)
        try await Self.withFolder { folder in
            let first = try await Self.outcomes(Self.setting(folder, ranks: ranks.first))
            #expect(first.outcomes.map(\.tokens) == expected)
            #expect(!Self.files(folder).isEmpty)
            let second = try await Self.outcomes(Self.setting(folder, ranks: ranks.second))
            #expect(second.outcomes.map(\.tokens) == expected)
            // 61 tokens are three blocks of 16 and what is always computed.
            #expect(second.outcomes.allSatisfy { $0.usage.cachedTokens == 48 })
            #expect(second.counts.reduce(0) { $0 + $1.restoredTokens } > 0)
            // The next turn begins with the answer, too: 80 of its tokens had entries.
            var turn = Self.requests(1)[0]
            turn.prompt += expected[0] + [5, 6, 7]
            let third = try await Self.outcomes(Self.setting(folder), [turn])
            #expect(third.outcomes[0].usage.cachedTokens == 80)
            let alone = try await Self.outcomes(EngineRun.Setting(), [turn])
            #expect(third.outcomes[0].tokens == alone.outcomes[0].tokens)
        }
    }

    @Test func `other salts, formats and models find nothing`() async throws {
        try await Self.withFolder { folder in
            _ = try await Self.outcomes(Self.setting(folder))
            let salted = try await Self.outcomes(
                Self.setting(folder), [Self.requests(1, salt: 7)[0]])
            #expect(salted.outcomes[0].usage.cachedTokens == 0)
            var other = Self.setting(folder)
            other.cacheFormat = .bfloat16
            let rounded = try await Self.outcomes(other, [Self.requests(1)[0]])
            #expect(rounded.outcomes[0].usage.cachedTokens == 0 && rounded.counts[0].damaged == 0)
            other = Self.setting(folder)
            other.folder = Golden.stories
            let stories = try await Self.outcomes(other, [Self.requests(1)[0]])
            #expect(stories.outcomes[0].usage.cachedTokens == 0 && stories.counts[0].damaged == 0)
        }
    }

    @Test func `a file that was cut, changed or replaced costs time and no text`() async throws {
        let expected = try await Self.outcomes(EngineRun.Setting()).outcomes.map(\.tokens)
        try await Self.withFolder { folder in
            _ = try await Self.outcomes(Self.setting(folder))
            let manager = FileManager.default
            var random = SplitMix64(seed: 3)
            for (index, file) in Self.files(folder).enumerated() {
                var bytes = try #require(manager.contents(atPath: file))
                switch index % 4 {
                case 0: bytes[Int.random(in: 0 ..< bytes.count, using: &random)] ^= 0x10
                case 1: bytes = bytes.prefix(Int.random(in: 0 ..< bytes.count, using: &random))
                case 2:
                    try manager.removeItem(atPath: file)
                    try manager.createDirectory(atPath: file, withIntermediateDirectories: false)
                    continue
                default:
                    try manager.removeItem(atPath: file)
                    try manager.createSymbolicLink(
                        atPath: file, withDestinationPath: "/dev/zero")
                    continue
                }
                try bytes.write(to: URL(filePath: file))
            }
            let after = try await Self.outcomes(Self.setting(folder))
            #expect(after.outcomes.map(\.tokens) == expected)
            #expect(after.counts[0].damaged > 0 && after.counts[0].restoredTokens == 0)
        }
    }

    @Test func `a block is taken for nothing but itself`() throws {
        let key = PrefixKey(origin: Digest(of: [1]), root: 2).next([3, 4])
        let file = BlockFile.encode(key: key, tokens: [3, 4], entries: [5, 6, 7])
        func read(_ file: [UInt8], _ key: PrefixKey, _ tokens: [Int], _ bytes: Int) -> [UInt8]? {
            BlockFile.decode(file, key: key, tokens: tokens, entryBytes: bytes)
        }
        #expect(read(file, key, [3, 4], 3) == [5, 6, 7])
        #expect(read(file, key.next([1]), [3, 4], 3) == nil)
        #expect(read(file, key, [3, 5], 3) == nil)
        #expect(read(file, key, [3, 4], 4) == nil)
        for index in file.indices {
            var changed = file
            changed[index] ^= 1
            #expect(read(changed, key, [3, 4], 3) == nil)
            #expect(read(Array(file[..<index]), key, [3, 4], 3) == nil)
        }
        // The same tokens under other roots, or cut elsewhere, are other blocks.
        let root = PrefixKey(origin: Digest(of: [1]), root: 2)
        let keys = [
            root, root.next([3]), root.next([3]).next([4]), root.next([3, 4]),
            PrefixKey(origin: Digest(of: [1]), root: 3).next([3, 4]),
            PrefixKey(origin: Digest(of: [2]), root: 2).next([3, 4]),
        ]
        #expect(Set(keys).count == keys.count)
    }

    @Test func `the files longest unused go when the folder is full, and nothing else`()
        async throws
    {
        try await Self.withFolder { path in
            let folder = try PrefixFolder(
                path: path, byteLimit: 1 << 20, origin: Digest(of: [1]))
            let others = try PrefixFolder(
                path: path, byteLimit: 1 << 20, origin: Digest(of: [2]))
            let note = path + "/note.txt"
            try Data(count: 100_000).write(to: URL(filePath: note))
            let entries = [UInt8](repeating: 7, count: 100_000)
            let keys = (0 ..< 12).map { PrefixKey(origin: Digest(of: [1]), root: $0) }
            for (index, key) in keys.enumerated() {
                let target = index < 2 ? others : folder
                #expect(try target.write(key, tokens: [1], entries: entries) > 100_000)
                let file = try #require(Self.files(path).first { $0.contains(key.digest.text) })
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSince1970: 1000 + Double(index))],
                    ofItemAtPath: file)
            }
            // The third is used once more.
            #expect(try folder.read(keys[2], tokens: [1], entryBytes: 100_000) == entries)
            let left = try #require(try folder.prune())
            #expect(left <= (1 << 20) - (1 << 17))
            #expect(Self.files(path).count == 9)
            #expect(folder.contains(keys[2]) && !folder.contains(keys[3]))
            #expect(!others.contains(keys[0]) && FileManager.default.fileExists(atPath: note))
            // An empty folder of another model stays for a day, as who owns it may have just begun.
            func names() throws -> [String] {
                try FileManager.default.contentsOfDirectory(atPath: path)
            }
            #expect(try names().count == 4)
            let origin = String(Digest(of: [2]).text.prefix(32))
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: 1000)],
                ofItemAtPath: path + "/" + origin)
            for key in keys { _ = try folder.write(key, tokens: [1], entries: entries) }
            _ = try folder.prune()
            #expect(try !names().contains(origin))
            // Its owner makes it again.
            #expect(try others.write(keys[0], tokens: [1], entries: entries) > 100_000)
            #expect(others.contains(keys[0]))
        }
    }

    @Test func `what computes the entries is told apart by all that could change their bits`()
        async throws
    {
        try await Self.withFolder { folder in
            let files = FileManager.default
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let weights = folder + "/model.safetensors"
            let time = Date(timeIntervalSince1970: 1000)
            func write(_ changed: Int?) throws {
                var bytes = Data(count: 3 << 20)
                if let changed { bytes[changed] = 1 }
                try bytes.write(to: URL(filePath: weights))
                try files.setAttributes([.modificationDate: time], ofItemAtPath: weights)
                try Data("{}".utf8).write(to: URL(filePath: folder + "/config.json"))
                try files.setAttributes(
                    [.modificationDate: time], ofItemAtPath: folder + "/config.json")
            }
            func digest(
                _ compute: Compute = .float32, _ format: EntryFormat = .float32,
                _ blockTokens: Int = 16
            ) throws -> Digest {
                try PrefixOrigin.digest(
                    directory: folder, compute: compute, format: format, blockTokens: blockTokens)
            }
            try write(nil)
            let base = try digest()
            #expect(try digest() == base)
            var all = [base, try digest(.bfloat16), try digest(.float32, .bfloat16)]
            all.append(try digest(.float32, .float32, 64))
            // A weight in the beginning, and one in a piece of the rest.
            for changed in [100, (3 << 20) / 64 * 40 + 7] {
                try write(changed)
                all.append(try digest())
            }
            try write(nil)
            #expect(try digest() == base)
            try files.setAttributes([.modificationDate: Date()], ofItemAtPath: weights)
            all.append(try digest())
            #expect(Set(all).count == all.count)
        }
    }

    @Test func `a folder behind a link is kept to its limit, too`() async throws {
        try await Self.withFolder { path in
            try PrefixFolder.make(path + "/real")
            try FileManager.default.createSymbolicLink(
                atPath: path + "/link", withDestinationPath: path + "/real")
            let folder = try PrefixFolder(
                path: path + "/link", byteLimit: 1 << 20, origin: Digest(of: [1]))
            for root in 0 ..< 12 {
                let key = PrefixKey(origin: Digest(of: [1]), root: UInt64(root))
                _ = try folder.write(
                    key, tokens: [1], entries: [UInt8](repeating: 7, count: 100_000))
            }
            let left = try #require(try folder.prune())
            #expect(left > 0 && left <= (1 << 20) - (1 << 17))
        }
    }

    @Test func `texts that come together after a restart read their files once`() async throws {
        try await Self.withFolder { folder in
            _ = try await Self.outcomes(Self.setting(folder))
            let request = Self.requests(1)[0]
            let together = (0 ..< 8).map { index in
                var request = request
                request.id = RequestID(rawValue: UInt64(100 + index))
                return request
            }
            let (texts, counts) = try await EngineRun.with(Self.setting(folder)) { run in
                let texts = try await run.generate(together)
                return (texts, run.ranks.statistics.compactMap(\.prefixFiles))
            }
            #expect(Set(texts).count == 1)
            // 48 tokens are in files; nobody takes them twice.
            #expect(counts[0].restoredTokens == 48 && counts[0].damaged == 0)
        }
    }

    @Test func `a disk that refuses blocks costs no text, and is named`() async throws {
        let expected = try await Self.outcomes(EngineRun.Setting()).outcomes.map(\.tokens)
        try await Self.withFolder { folder in
            let warnings = Mutex<[String]>([])
            var setting = Self.setting(folder)
            setting.warn = { text in warnings.withLock { $0.append(text) } }
            let (tokens, counts) = try await EngineRun.with(setting) { run in
                // The folder of this origin becomes a file.
                for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                    try FileManager.default.removeItem(atPath: folder + "/" + name)
                    try Data().write(to: URL(filePath: folder + "/" + name))
                }
                var tokens: [[Int]] = []
                for request in Self.requests() {
                    tokens.append(try await run.outcome(request).tokens)
                }
                return (tokens, run.ranks.statistics.compactMap(\.prefixFiles))
            }
            #expect(tokens == expected && counts[0].dropped > 0)
            let said = warnings.withLock { $0 }
            #expect(said.count == 1 && said[0].contains(folder))
        }
    }

    @Test func `a folder or secret that others may read is refused with the remedy`() async throws {
        try await Self.withFolder { folder in
            let roots = try PrefixRoots(folder: folder)
            let again = try PrefixRoots(folder: folder)
            #expect(roots.root(of: "a") == again.root(of: "a"))
            #expect(roots.root(of: "alice", under: 3) == again.root(of: "alice", under: 3))
            #expect(roots.root(of: "a") != PrefixRoots().root(of: "a"))
            func refusal() -> String {
                do throws(ServingError) {
                    _ = try PrefixRoots(folder: folder)
                    return "taken"
                } catch { return "\(error)" }
            }
            let (manager, secret) = (FileManager.default, folder + "/secret")
            try manager.setAttributes([.posixPermissions: 0o644], ofItemAtPath: secret)
            #expect(refusal().contains("chmod 600"))
            try manager.setAttributes([.posixPermissions: 0o600], ofItemAtPath: secret)
            try Data([1, 2]).write(to: URL(filePath: secret))
            #expect(refusal().contains("has 2 bytes, not 32"))
            try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder)
            #expect(refusal().contains("chmod 700"))
            #expect(throws: ServingError.self) {
                try PrefixSettings(folder: folder, byteLimit: 1 << 30).validate()
            }
            #expect(throws: ServingError.self) {
                try PrefixSettings(folder: folder + "x", byteLimit: 1 << 19).validate()
            }
        }
    }
}
