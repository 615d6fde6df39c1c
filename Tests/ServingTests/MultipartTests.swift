import Encoding
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

    /// What a form holds that arrives in pieces, up to a fault.
    private struct Reading: Equatable {
        var events: [MultipartReader.Event] = []
        var hasEnded = false
        var fault: String?

        init(_ bytes: [UInt8], pieces: () -> Int) throws {
            var reader = try MultipartReader(
                contentType: #"Multipart/Form-Data; charset=utf-8; boundary="b-=""#)
            var rest = bytes[...]
            do {
                while !rest.isEmpty {
                    let piece = rest.prefix(pieces())
                    rest = rest.dropFirst(piece.count)
                    for event in try reader.append(piece) { add(event) }
                }
            } catch { fault = "\(error)" }
            hasEnded = reader.hasEnded
        }

        private mutating func add(_ event: MultipartReader.Event) {
            if case .bytes(let more) = event, case .bytes(let last)? = events.last {
                events[events.count - 1] = .bytes(last + more)
            } else {
                events.append(event)
            }
        }
    }

    @Test(arguments: 1 ... 40) func `a form is the same however it is cut`(pieces: Int) throws {
        let wanted: [MultipartReader.Event] = [
            .part(name: "purpose", file: nil), .bytes(Array("batch".utf8)),
            .part(name: "file", file: #"a "b".jsonl"#),
            .bytes(Array("line\r\n--b-\r\n--b".utf8)),
            .part(name: "empty", file: nil),
        ]
        let reading = try Reading(Array(Self.form.utf8)) { pieces }
        #expect(reading.events == wanted && reading.hasEnded && reading.fault == nil)
    }

    @Test func `20,000 damaged forms are the same however they are cut, or the same fault`() throws
    {
        let pieces = [
            "\r\n", "--b-=", "--", "\r\n\r\n", "\"", "\\", ";", "name=", ":", "\0", "\u{FF}",
        ].map { Array($0.utf8) }
        var random = SplitMix64(seed: 1)
        var (ends, faults) = (0, 0)
        for _ in 0 ..< 20_000 {
            var bytes = Array(Self.form.utf8)
            for _ in 0 ..< Int.random(in: 1 ... 4, using: &random) {
                let place = Int.random(in: 0 ... bytes.count, using: &random)
                let last = min(bytes.count, place + Int.random(in: 0 ... 6, using: &random))
                let piece = pieces.randomElement(using: &random) ?? []
                let isCut = Bool.random(using: &random)
                bytes.replaceSubrange(place ..< last, with: isCut ? [] : piece)
            }
            let whole = try Reading(bytes) { bytes.count }
            let cut = try Reading(bytes) { Int.random(in: 1 ... 30, using: &random) }
            // A fault ends a form before what is behind it was read.
            #expect(whole.fault == cut.fault && whole.hasEnded == cut.hasEnded)
            if whole.fault == nil { #expect(whole.events == cut.events) }
            ends += whole.hasEnded ? 1 : 0
            faults += whole.fault == nil ? 0 : 1
        }
        #expect(ends > 5000 && faults > 1000, "\(ends) whole, \(faults) faults")
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
