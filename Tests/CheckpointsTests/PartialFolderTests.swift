import Encoding
import Foundation
import Synchronization
import Tensors
import Testing

@testable import Checkpoints

/// A checkpoint of which a folder receives parts.
@Suite struct PartialFolderTests {
    /// A source on this machine that counts what it gives, and can break off.
    final class Source: PieceSource {
        let waitLimit = Duration.seconds(5)
        let given = Mutex<[CheckpointPiece]>([])
        private let folder: SharedFolder
        private let most: Int

        /// - Parameter most: Pieces that are given before it is gone.
        init(_ directory: String, most: Int = .max) throws {
            folder = try SharedFolder(directory: directory)
            self.most = most
        }

        var files: [RemoteFile] { folder.files }
        var content: String { folder.content }
        /// Pieces that travelled, of files of weights.
        var travelled: [CheckpointPiece] {
            given.withLock { $0.filter { $0.file.hasSuffix(".safetensors") } }
        }

        func makeRoom(for byteCount: Int) throws {}

        func receive(
            _ pieces: [CheckpointPiece],
            take: @escaping @Sendable (CheckpointPiece, [UInt8]?, Digest) throws -> Void
        ) throws {
            for piece in pieces {
                let bytes = try folder.read(piece.file, piece.bytes)
                let digest = Digest(of: bytes)
                if piece.held == digest {
                    try take(piece, nil, digest)
                    continue
                }
                guard given.withLock({ $0.count }) < most else {
                    throw CheckpointError.file(piece.file, fact: "the source is gone")
                }
                given.withLock { $0.append(piece) }
                try take(piece, bytes, digest)
            }
        }
    }

    static let names = ["a", "b", "c"]
    /// Of each: more than one piece.
    static let count = 5 << 20

    static func bytes(_ name: String, seed: Int = 0) -> [UInt8] {
        let first = Int(name.utf8.first ?? 0) + seed
        return (0 ..< count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9 &+ first) }
    }

    static func whole(seed: Int = 0) throws -> CheckpointFolder {
        let folder = try CheckpointFolder(
            names.map { OutputTensor(name: $0, type: .uint8, shape: [count]) },
            bytes: Dictionary(
                uniqueKeysWithValues: names.map { ($0, bytes($0, seed: seed)) }))
        try Data("{}".utf8).write(to: URL(filePath: folder.path + "/config.json"))
        return folder
    }

    /// A cache in a folder that goes away with it.
    static func cache(
        _ folder: CheckpointFolder, limit: Int = 1 << 30
    ) throws -> WeightCache {
        try WeightCache(
            folder: folder.path + "/cache", byteLimit: limit, waitLimit: .seconds(5))
    }

    static func open(
        _ source: Source, _ cache: WeightCache, _ name: String = "m"
    ) throws -> String {
        try cache.open(name, files: source.files, content: source.content, from: source)
    }

    @Test func `a folder has headers and small files whole, and of the rest what is asked for`()
        throws
    {
        let (whole, place) = (try Self.whole(), try CheckpointFolder())
        let source = try Source(whole.path)
        let directory = try Self.open(source, Self.cache(place))
        let before = source.travelled.count
        let checkpoint = try Checkpoint(directory: directory, source: source)
        #expect(Set(checkpoint.tensors.keys) == Set(Self.names))
        #expect(!checkpoint.isWhole)
        #expect(try checkpoint.readBytes(of: checkpoint.locate("b")) == Self.bytes("b"))
        // Two pieces of this tensor, and nothing of the others.
        #expect(source.travelled.count == before + 2)
        let shard = directory + "/model.safetensors"
        let size = try URL(filePath: shard).resourceValues(forKeys: [.fileSizeKey])
        #expect(size.fileSize == checkpoint.shards[0].byteCount)
        var record = ArrivalRecord(in: directory)
        try record.update()
        #expect(record.byteCount == Self.count)
        // Read again, nothing comes again.
        #expect(try checkpoint.readBytes(of: checkpoint.locate("b")) == Self.bytes("b"))
        #expect(source.travelled.count == before + 2)
    }

    @Test func `what is not here is refused by name where it cannot come`() throws {
        let (whole, place) = (try Self.whole(), try CheckpointFolder())
        let source = try Source(whole.path)
        let directory = try Self.open(source, Self.cache(place))
        let first = try Checkpoint(directory: directory, source: source)
        try first.require(first.locate("a"))
        let alone = try Checkpoint(directory: directory)
        #expect(try alone.readBytes(of: alone.locate("a")) == Self.bytes("a"))
        let error = #expect(throws: CheckpointError.self) {
            try alone.readBytes(of: alone.locate("c"))
        }
        #expect("\(error!)".contains("tensor c: has not been received"), "\(error!)")
        #expect(throws: CheckpointError.self) { try SharedFolder(directory: directory) }
    }

    @Test func `what arrived before a break does not come again`() throws {
        let (whole, place) = (try Self.whole(), try CheckpointFolder())
        let source = try Source(whole.path)
        let cache = try Self.cache(place)
        let directory = try Self.open(source, cache)
        let breaking = try Source(whole.path, most: 3)
        let checkpoint = try Checkpoint(directory: directory, source: breaking)
        let all = try Self.names.map { name in
            let located = try checkpoint.locate(name)
            return (place: located, bytes: located.entry.bytes)
        }
        #expect(throws: CheckpointError.self) { try checkpoint.require(all) }
        // A line that a kill cut short costs its piece alone.
        let record = try FileHandle(
            forWritingTo: URL(filePath: directory + "/" + ArrivalRecord.name))
        try record.seekToEnd()
        try record.write(contentsOf: Data("0123abc 17 4".utf8))
        try record.close()
        let rest = try Source(whole.path)
        let again = try Checkpoint(directory: directory, source: rest)
        try again.require(all)
        #expect(rest.travelled.count == 3)
        #expect(Set(rest.travelled).isDisjoint(with: breaking.travelled))
        for name in Self.names {
            #expect(try again.readBytes(of: again.locate(name)) == Self.bytes(name))
        }
        // What was appended after the cut line is read, too.
        let third = try Source(whole.path)
        let last = try Checkpoint(directory: directory, source: third)
        try last.require(all)
        #expect(third.travelled.isEmpty)
    }

    @Test func `bytes that changed on the disk or at the source come again`() throws {
        let (whole, place) = (try Self.whole(), try CheckpointFolder())
        let source = try Source(whole.path)
        let directory = try Self.open(source, Self.cache(place))
        let first = try Checkpoint(directory: directory, source: source)
        let wanted = try first.locate("a")
        try first.require(wanted)
        let sink = try FileSink(existing: directory + "/model.safetensors")
        try sink.write([UInt8](repeating: 1, count: 9).span.raw, at: wanted.entry.bytes.lowerBound)
        let other = try Source(whole.path)
        let second = try Checkpoint(directory: directory, source: other)
        #expect(try second.readBytes(of: second.locate("a")) == Self.bytes("a"))
        #expect(other.travelled.count == 1)
        // A model of the same sizes with other numbers.
        let changed = try Self.whole(seed: 5)
        let newer = try Source(changed.path)
        let third = try Checkpoint(directory: directory, source: newer)
        #expect(try third.readBytes(of: third.locate("a")) == Self.bytes("a", seed: 5))
        #expect(newer.travelled.count == 2)
    }

    @Test func `models of equal names and sizes have folders of their own`() throws {
        let (one, place) = (try Self.whole(), try CheckpointFolder())
        let (other, third) = (try Self.whole(seed: 5), try Self.whole())
        try Data("[]".utf8).write(to: URL(filePath: third.path + "/config.json"))
        let cache = try Self.cache(place)
        let folders = try [one, other, third, one].map { whole in
            try Self.open(Source(whole.path), cache)
        }
        #expect(Set(folders).count == 3)
        #expect(folders[0] == folders[3])
        let small = try String(contentsOfFile: folders[2] + "/config.json", encoding: .utf8)
        #expect(small == "[]")
    }

    @Test func `small transfers count against the limit together`() throws {
        let place = try CheckpointFolder()
        let cache = try Self.cache(place, limit: 20 << 20)
        try cache.makeRoom(for: 1 << 20, keeping: "")
        for _ in 0 ..< 3 { try cache.makeRoom(for: 20 << 20, keeping: "") }
        #expect(throws: CheckpointError.self) {
            try cache.makeRoom(for: 21 << 20, keeping: "")
        }
    }

    @Test func `each use has a mark of its own, which goes once the use has ended`() throws {
        let (whole, place) = (try Self.whole(), try CheckpointFolder())
        let source = try Source(whole.path)
        let (one, two) = (try Self.cache(place), try Self.cache(place))
        let directory = try Self.open(source, one)
        // As another process with the same number in its container would.
        #expect(try Self.open(source, two) == directory)
        func marks() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: directory)
                .count { $0.hasPrefix(".apus-use-") }
        }
        #expect(try marks() == 2)
        try Data().write(to: URL(filePath: directory + "/.apus-use-ended"))
        let three = try Self.cache(place)
        #expect(try Self.open(source, three) == directory)
        #expect(try marks() == 3)
        withExtendedLifetime((one, two, three)) {}
    }

    @Test func `the model that was used the longest ago goes, one in use stays`() throws {
        let place = try CheckpointFolder()
        let whole = try Self.whole()
        let one = try Source(whole.path)
        defer { withExtendedLifetime(whole) {} }
        func fill(_ name: String, _ cache: WeightCache, _ source: Source) throws -> String {
            let directory = try Self.open(source, cache, name)
            let checkpoint = try Checkpoint(directory: directory, source: source)
            try cache.makeRoom(for: Self.count, keeping: directory)
            try checkpoint.require(checkpoint.locate("a"))
            return directory
        }
        var cache: WeightCache? = try Self.cache(place)
        let old = try fill("old", cache!, one)
        cache = nil
        // As a removal leaves it that was killed.
        let left = place.path + "/cache/.apus-gone-1"
        try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
        let next = try WeightCache(
            folder: place.path + "/cache", byteLimit: 8 << 20, waitLimit: .seconds(5))
        let new = try fill("new", next, one)
        #expect(!FileManager.default.fileExists(atPath: old))
        #expect(!FileManager.default.fileExists(atPath: left))
        #expect(FileManager.default.fileExists(atPath: new))
        let third = try WeightCache(
            folder: place.path + "/cache", byteLimit: 8 << 20, waitLimit: .seconds(5))
        let error = #expect(throws: CheckpointError.self) { _ = try fill("third", third, one) }
        #expect("\(error!)".contains("the limit is \(8 << 20) (weightBytes)"), "\(error!)")
        #expect(FileManager.default.fileExists(atPath: new))
    }
}
