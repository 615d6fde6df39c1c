import Encoding
import Foundation
import Testing

private struct Fault: Error, Equatable {
    var fact: FileFault
}

@Suite struct WholeFileTests {
    private let folder = FileManager.default.temporaryDirectory
        .appending(path: "whole-file-\(UUID().uuidString)")

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func read(_ path: String, limit: Int) throws(Fault) -> Data {
        try WholeFile.read(path, limit: limit) { Fault(fact: $0) }
    }

    private func path(_ name: String) -> String { folder.appending(path: name).path }

    @Test func `a file is read to its last byte, and no further than its limit`() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let bytes = Data((0 ..< 3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try bytes.write(to: URL(filePath: path("bytes")))
        #expect(try read(path("bytes"), limit: bytes.count) == bytes)
        let fault = #expect(throws: Fault.self) {
            try read(path("bytes"), limit: bytes.count - 1)
        }
        #expect(fault?.fact.description == "has more than 2999999 bytes, the limit of such a file")
        try Data().write(to: URL(filePath: path("empty")))
        #expect(try read(path("empty"), limit: 0).isEmpty)
    }

    @Test func `a device without an end is given up at the limit`() {
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(throws: Fault.self) { try read("/dev/zero", limit: 100_000) }
    }

    @Test func `what is missing, a folder and what may not be read are told apart`() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        func fact(_ path: String) -> String? {
            do throws(Fault) { _ = try read(path, limit: 10) } catch {
                return error.fact.description
            }
            return nil
        }
        #expect(fact(path("nothing")) == "there is no such file")
        #expect(fact(path("nothing/below")) == "there is no such file")
        #expect(fact(folder.path) == "is a folder, where a file is expected")
        try FileManager.default.createSymbolicLink(
            atPath: path("link"), withDestinationPath: path("nothing"))
        #expect(fact(path("link")) == "is a link to a file that is not there")
        try Data("secret".utf8).write(to: URL(filePath: path("locked")))
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path("locked"))
        // The superuser may read everything.
        let words =
            FileManager.default.isReadableFile(atPath: path("locked"))
            ? nil : "may not be read by the user of this process"
        #expect(fact(path("locked")) == words)
    }
}
