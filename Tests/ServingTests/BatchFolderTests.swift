import Encoding
import Foundation
import Testing

@testable import Serving

/// What a folder of batches keeps, counts and removes.
@Suite final class BatchFolderTests {
    private let disk: TemporaryBatches
    private var path: String { disk.path }

    init() throws { disk = try TemporaryBatches() }

    private func names(_ folder: String) throws -> Set<String> {
        Set(try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)"))
    }

    private func open(bytes: Int = 1 << 20) throws -> BatchFolder {
        var limits = ServiceLimits()
        limits.allFileBytes = bytes
        return try BatchFolder(path: path, limits: limits)
    }

    private static func result(_ id: String, depth: Int = 1) -> String {
        let body = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        return #"{"id":"batch_req_1","custom_id":"\#(id)","response":{"body":\#(body)}}"#
    }

    @Test func `what others keep in the folder stays as it is`() throws {
        let id = StoredID.make(StoredID.file)
        let other = StoredID.make(StoredID.file)
        let foreign = [
            "files/notes.txt", "files/package.json", "files/file-", "files/\(id).bak",
            "files/file-0123456789ABCDEF0123456789ABCDEF", "files/my.json.partial",
            "batches/todo.json", "batches/batch_1.json", "batches/\(id)",
        ]
        for name in foreign { try disk.write("mine", name) }
        let files = FileManager.default
        for name in [other, "\(other).json", "src"] {
            try files.createDirectory(
                atPath: "\(path)/files/\(name)/deep", withIntermediateDirectories: true)
        }
        let link = StoredID.make(StoredID.file)
        try files.createSymbolicLink(
            atPath: "\(path)/files/\(link)", withDestinationPath: "\(path)/files/notes.txt")
        let before = (try names("files"), try names("batches"))
        // What an upload, and a description, left behind goes.
        try disk.write("half", "files/\(id)")
        try disk.write("{", "files/\(id).json.partial")
        try disk.write("{", "batches/\(StoredID.make(StoredID.batch)).json.partial")
        let folder = try open()
        #expect(try names("files") == before.0 && names("batches") == before.1)
        #expect(try names("files/\(other)") == ["deep"])
        #expect(folder.files(of: "").isEmpty && folder.openBatches.isEmpty)
    }

    @Test func `a description of something else is refused by its name`() throws {
        let id = StoredID.make(StoredID.file)
        let file = StoredFile(
            id: "../lock", name: "a", purpose: .input, bytes: 1, created: 1, owner: "")
        let text = String(decoding: try JSONEncoder().encode(file), as: UTF8.self)
        try disk.write(text, "files/\(id).json")
        let error = #expect(throws: ServingError.self) { _ = try open() }
        #expect(error?.message.contains("\(id).json is damaged") == true, "\(error!)")
    }

    @Test func `files are kept, and deleted with their room, once`() throws {
        let folder = try open(bytes: 10)
        let id = StoredID.make(StoredID.file)
        try folder.reserve(10, of: "A")
        try disk.write("0123456789", "files/\(id)")
        try folder.add(
            StoredFile(id: id, name: "a", purpose: .input, bytes: 10, created: 1, owner: "A"))
        #expect(try names("files") == [id, "\(id).json"])
        #expect(throws: APIError.self) { try folder.reserve(1, of: "A") }
        // Somebody tidied up: the file is deleted all the same.
        try FileManager.default.removeItem(atPath: "\(path)/files/\(id)")
        try folder.delete(id, of: "A")
        #expect(try names("files").isEmpty)
        #expect(throws: APIError.self) { try folder.delete(id, of: "A") }
        try folder.reserve(10, of: "A")
        #expect(throws: APIError.self) { try folder.reserve(1, of: "A") }
    }

    @Test func `one of several owners leaves a quarter of the bytes to others`() throws {
        var limits = ServiceLimits()
        limits.allFileBytes = 8
        let folder = try BatchFolder(path: path, limits: limits) { true }
        let error = #expect(throws: APIError.self) { try folder.reserve(7, of: "A") }
        #expect(error?.status == 413 && error?.message.contains("the limit is 6") == true)
        try folder.reserve(6, of: "A")
        #expect(throws: APIError.self) { try folder.reserve(1, of: "A") }
        // What a batch of theirs writes has all the room that there is.
        try folder.reserve(1, of: "A", isOutput: true)
        try folder.reserve(-1, of: "A")
        try folder.reserve(2, of: "B")
        #expect(throws: APIError.self) { try folder.reserve(1, of: "B") }
        try folder.reserve(-6, of: "A")
        try folder.reserve(4, of: "B")
        #expect(throws: APIError.self) { try folder.reserve(1, of: "B") }
        // Batches of a server without keys are nobody's.
        try folder.reserve(-6, of: "B")
        try folder.reserve(8, of: "")
    }

    @Test func `a new batch takes the place of its owner's oldest, and of others' by need`() throws
    {
        func batch(_ owner: String, _ state: Batch.State) -> Batch {
            var batch = Batch(
                endpoint: .completions, input: StoredID.make(StoredID.file), hours: 1,
                metadata: [:], owner: owner)
            batch.enter(state)
            return batch
        }
        let folder = try BatchFolder(path: path, limits: ServiceLimits(), countLimit: 8) { true }
        func counts() -> [Int] { ["A", "B", "C"].map { folder.batches(of: $0).count } }
        for _ in 0 ..< 2 { try folder.add(batch("B", .completed)) }
        // A share is six: beyond it an owner loses its own.
        for _ in 0 ..< 20 { try folder.add(batch("A", .completed)) }
        #expect(counts() == [6, 2, 0])
        for _ in 0 ..< 20 { try folder.add(batch("B", .completed)) }
        #expect(counts() == [6, 2, 0])
        // Who has none that ended takes a place of the owner with the most, until they are even.
        for _ in 0 ..< 3 { try folder.add(batch("C", .inProgress)) }
        #expect(counts() == [3, 2, 3])
        let error = #expect(throws: APIError.self) { try folder.add(batch("C", .inProgress)) }
        #expect(error?.status == 429)
    }

    @Test func `results are read as far as needed, and a cut line leaves its room`() throws {
        var batch = Batch(
            endpoint: .completions, input: StoredID.make(StoredID.file), hours: 1, metadata: [:],
            owner: "")
        batch.enter(.inProgress)
        let description = String(decoding: try JSONEncoder().encode(batch), as: UTF8.self)
        try disk.write(description, "batches/\(batch.id).json")
        let lines = [
            Self.result("a"), Self.result("deep", depth: 3 * JSONReader.depthLimit),
            #"{"id":"batch_req_2","custom_id":"cut"#, "\u{0}\u{1}", #"{"custom_id":3}"#,
            Self.result("b"),
        ]
        let whole = lines.joined(separator: "\n") + "\n"
        try disk.write(whole + #"{"id":"batch_req_3","custom_id":"c","#, "files/\(batch.output)")
        let folder = try open(bytes: whole.utf8.count + 10)
        #expect(throws: APIError.self) { try folder.reserve(1, of: "A") }
        let output = try BatchOutput(batch.output, of: "", in: folder)
        #expect(output.answered == ["a", "deep", "b"])
        #expect(output.damagedLines == 3)
        try folder.reserve(10, of: "A")
        #expect(throws: APIError.self) { try folder.reserve(1, of: "A") }
        #expect(try output.close() == whole.utf8.count)
        let left = try Data(contentsOf: URL(filePath: "\(path)/files/\(batch.output)"))
        #expect(left == Data(whole.utf8))
    }
}
