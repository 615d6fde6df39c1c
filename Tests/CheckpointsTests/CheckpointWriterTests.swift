import Checkpoints
import Foundation
import Testing

/// Whose a partial folder is, and what becomes of it.
@Suite final class CheckpointWriterTests {
    private let folder = FileManager.default.temporaryDirectory.appending(
        path: UUID().uuidString
    ).path(percentEncoded: false)

    init() throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func add(_ file: String, to name: String) throws {
        let path = folder + "/" + name
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Data("old".utf8).write(to: URL(filePath: path + "/" + file))
    }

    private func files(_ name: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder + "/" + name).sorted()
    }

    private func writer() throws -> CheckpointWriter {
        try CheckpointWriter(directory: folder + "/m")
    }

    @Test func `a partial folder without our mark is refused and untouched`() throws {
        try add("model.safetensors", to: "m.partial")
        let error = #expect(throws: CheckpointError.self) { _ = try writer() }
        let fact = "m.partial: exists and is not what an earlier attempt left (it holds no .apus-"
        #expect("\(error!)".contains(fact), "\(error!)")
        #expect("\(error!)".contains("rename it, remove it, or choose another target"))
        #expect(try files("m.partial") == ["model.safetensors"])
        #expect(try files() == ["m.partial"])
    }

    @Test func `a second writer to one target is refused, and the first one goes on`() throws {
        let first = try writer()
        try first.write("{}", to: "config.json")
        let error = #expect(throws: CheckpointError.self) { _ = try writer() }
        #expect("\(error!)".contains("m.partial: is being written by another program"))
        try first.write("{}", to: "tokenizer.json")
        try first.commit()
        #expect(try files("m") == ["config.json", "tokenizer.json"])
        #expect(try files() == ["m"])
    }

    @Test func `what an ended writer left is emptied and used again`() throws {
        try add(".apus-partial", to: "m.partial")
        try add("old.safetensors", to: "m.partial")
        try add("tokenizer.json", to: "source")
        let again = try writer()
        try again.write("{}", to: "config.json")
        try again.copy("tokenizer.json", from: folder + "/source")
        try again.commit()
        #expect(try files("m") == ["config.json", "tokenizer.json"])
        let copied = try Data(contentsOf: URL(filePath: folder + "/m/tokenizer.json"))
        #expect(copied == Data("old".utf8))
        #expect(try files() == ["m", "source"])
    }

    @Test func `an abandoned folder leaves nothing, and a committed one stays`() throws {
        let first = try writer()
        try first.write("{}", to: "config.json")
        #expect(first.abandon(after: CancellationError()) is CancellationError)
        #expect(try files() == [])
        let second = try writer()
        try second.write("{}", to: "config.json")
        try second.commit()
        try add("other", to: "m.partial")
        #expect(second.abandon(after: CancellationError()) is CancellationError)
        #expect(try files() == ["m", "m.partial"])
    }

    /// What a writer leaves that ends before it has made its mark, or after it has removed it.
    @Test func `an empty partial folder is taken`() throws {
        try FileManager.default.createDirectory(
            atPath: folder + "/m.partial", withIntermediateDirectories: true)
        let taken = try writer()
        #expect(try files("m.partial") == [".apus-partial"])
        let error = #expect(throws: CheckpointError.self) { _ = try writer() }
        #expect("\(error!)".contains("is being written by another program"))
        try taken.write("{}", to: "config.json")
        try taken.commit()
        #expect(try files("m") == ["config.json"])
        #expect(try files() == ["m"])
    }

    /// The mark cannot be removed, because it is not there.
    @Test func `what stays of an abandoned folder is told with the first error`() throws {
        let first = try writer()
        try FileManager.default.removeItem(atPath: folder + "/m.partial/.apus-partial")
        let error = first.abandon(after: CheckpointError.file("a", fact: "is bad"))
        #expect("\(error)".contains("m.partial: stays, because"), "\(error)")
        #expect("\(error)".hasSuffix("after: a: is bad"), "\(error)")
    }
}
