import Foundation
import Testing

@testable import Serving

/// Forms and lines, however their bytes arrive.
@Suite struct MultipartTests {
    private static let form = """
        a preamble\r
        --b-=\r
        Content-Disposition: form-data; name="purpose"\r
        \r
        batch\r
        --b-= \r
        content-type: text/plain\r
        CONTENT-DISPOSITION: form-data; filename="a \\"b\\".jsonl"; name=file\r
        \r
        line\r
        --b-\r
        --b\r
        --b-=\r
        Content-Disposition: form-data; name="empty"\r
        \r
        \r
        --b-=--\r
        an epilogue
        """

    private static func read(_ form: String, pieces: Int) throws -> [MultipartReader.Event] {
        var reader = try MultipartReader(
            contentType: #"Multipart/Form-Data; charset=utf-8; boundary="b-=""#)
        var events: [MultipartReader.Event] = []
        let bytes = Array(form.utf8)
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            for event in try reader.append(bytes[start ..< min(start + pieces, bytes.count)]) {
                if case .bytes(let more) = event, case .bytes(let last)? = events.last {
                    events[events.count - 1] = .bytes(last + more)
                } else {
                    events.append(event)
                }
            }
        }
        #expect(reader.hasEnded)
        return events
    }

    @Test(arguments: 1 ... 40) func `a form is the same however it is cut`(pieces: Int) throws {
        let wanted: [MultipartReader.Event] = [
            .part(name: "purpose", file: nil), .bytes(Array("batch".utf8)),
            .part(name: "file", file: #"a "b".jsonl"#),
            .bytes(Array("line\r\n--b-\r\n--b".utf8)),
            .part(name: "empty", file: nil),
        ]
        #expect(try Self.read(Self.form, pieces: pieces) == wanted)
    }

    @Test(arguments: [
        "--X\r\nContent-Type: a\r\n\r\n", "--X\r\n\r\nbody", "--Xjunk", "--X\r\n: \r\n\r\n",
        "--X\r\nContent-Disposition: form-data\r\n\r\n",
        "--X\r\n" + String(repeating: "h", count: 9000),
    ])
    func `what is no form is refused`(text: String) throws {
        var reader = try MultipartReader(contentType: "multipart/form-data; boundary=X")
        #expect(throws: APIError.self) { _ = try reader.append(Array(text.utf8)) }
    }

    @Test(arguments: [
        "application/json", "multipart/form-data", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\(String(repeating: "x", count: 71))", "",
    ])
    func `a type without a boundary is refused`(type: String) {
        #expect(throws: APIError.self) { try MultipartReader(contentType: type) }
    }

    @Test func `lines have any length up to the limit, and any end`() throws {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "lines-\(UUID().uuidString)").path
        defer {
            do { try FileManager.default.removeItem(atPath: path) } catch {
                Issue.record("\(path) stays: \(error)")
            }
        }
        let long = String(repeating: "y", count: 200_000)
        let text = "\u{FEFF}a\r\n\n \t\n\(long)\nb"
        try Data(text.utf8).write(to: URL(filePath: path))
        var reader = try LineReader(path: path, limit: 200_000)
        var lines: [String] = []
        var numbers: [Int] = []
        while let line = try reader.next() {
            lines.append(String(decoding: line, as: UTF8.self))
            numbers.append(reader.line)
        }
        #expect(lines == ["a", long, "b"] && numbers == [1, 4, 5])
        #expect(!reader.hasLineEnd && reader.wholeBytes == text.utf8.count - 1)
        var strict = try LineReader(path: path, limit: 199_999)
        _ = try strict.next()
        #expect(throws: LineReader.TooLong.self) { _ = try strict.next() }
    }
}
