import Foundation
import Logging
import Testing

@testable import Serving

@Suite struct AccessLogTests {
    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// A folder that goes with its test.
    final class Folder {
        let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)

        init() throws {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func path(_ name: String) -> String {
            url.appending(path: name).path(percentEncoded: false)
        }

        func text(_ name: String) throws -> String {
            try String(contentsOfFile: path(name), encoding: .utf8)
        }

        var names: [String] {
            get throws {
                try FileManager.default.contentsOfDirectory(atPath: url.path(percentEncoded: false))
                    .sorted()
            }
        }
    }

    static func settings(_ file: String, bytes: Int = 1 << 20, files: Int = 3) -> AccessLogSettings
    {
        var settings = AccessLogSettings()
        settings.file = file
        settings.bytes = bytes
        settings.files = files
        return settings
    }

    @Test func `files are cut at their size, and the oldest one goes`() throws {
        let folder = try Folder()
        let log = try AccessLog(
            Self.settings(folder.path("log"), bytes: 100), log: Self.quiet)
        for number in 0 ..< 20 {
            log.write("line \(number) " + String(repeating: "x", count: 30) + "\n")
            log.close()
        }
        #expect(try folder.names == ["log", "log.1", "log.2"])
        #expect(try folder.text("log").hasPrefix("line 18 "))
        #expect(try folder.text("log.1").hasPrefix("line 16 "))
        #expect(try folder.text("log.2").hasPrefix("line 14 "))
    }

    @Test func `a file that was moved away is opened anew`() throws {
        let folder = try Folder()
        let log = try AccessLog(Self.settings(folder.path("log")), log: Self.quiet)
        log.write("first\n")
        log.close()
        try FileManager.default.moveItem(
            atPath: folder.path("log"), toPath: folder.path("kept"))
        log.write("second\n")
        log.close()
        #expect(try folder.text("kept") == "first\n" && folder.text("log") == "second\n")
    }

    @Test func `a file goes on where it was`() throws {
        let folder = try Folder()
        for line in ["one\n", "two\n"] {
            let log = try AccessLog(Self.settings(folder.path("log")), log: Self.quiet)
            log.write(line)
            log.close()
        }
        #expect(try folder.text("log") == "one\ntwo\n")
    }

    @Test func `a file that cannot be written is refused by its name`() throws {
        let error = #expect(throws: ServingError.self) {
            try AccessLog(Self.settings("/proc/none/log"), log: Self.quiet)
        }
        #expect(error?.message.contains("accessLog.file /proc/none/log") == true)
    }

    /// What is known only when the API opens is known after hours of loading.
    @Test func `a file that cannot be written is known before a model loads`() throws {
        var configuration = OpenAIServerConfiguration()
        configuration.accessLog.file = "/proc/none/log"
        let error = #expect(throws: ServingError.self) { try configuration.checkFiles() }
        let message = try #require(error?.message)
        #expect(message.hasPrefix("accessLog.file /proc/none/log cannot be written: "))
        #expect(!message.contains("Error Domain"))
        configuration.accessLog.file = ""
        configuration.batchFolder = "/proc/none"
        let other = #expect(throws: ServingError.self) { try configuration.checkFiles() }
        #expect(other?.message.hasPrefix("batchFolder /proc/none cannot be used: ") == true)
        #expect(other?.message.contains("Error Domain") == false)
    }

    @Test(arguments: [
        ("/a b", "/a\\u{20}b"), ("/x\r\nGET /y", "/x\\u{d}\\u{a}GET\\u{20}/y"),
        ("/\u{1b}[2J", "/\\u{1b}[2J"), ("/é", "/\\u{e9}"), ("/\\u", "/\\u{5c}u"), ("", "-"),
    ])
    func `no path can forge a line or move a terminal's cursor`(path: String, written: String) {
        #expect(AccessLog.escaped(path) == written)
    }

    @Test func `a line names what happened in ten words`() {
        let record = RequestRecord(method: "POST", path: "/v1/completions")
        record.answered(status: 200)
        record.wrote(bytes: 512)
        record.came(with: "alice")
        var usage = GenerationUsage()
        usage.generatedTokens = 24
        record.cost(prompts: [5, 7], [usage])
        let words = record.line(from: "10.0.0.1", otherwise: 499).split(separator: " ")
        #expect(words.count == 10 && words[0].hasSuffix("Z"))
        #expect(words[1 ... 5] == ["10.0.0.1", "POST", "/v1/completions", "200", "512"])
        #expect(words[7 ... 9] == ["12", "24", "alice\n"])
        let left = RequestRecord(method: "GET", path: String(repeating: "a", count: 5000))
        let line = left.line(from: "10.0.0.1", otherwise: 499)
        #expect(line.contains(" 499 0 ") && line.utf8.count < 400)
        #expect(line.hasSuffix(" - - -\n"))
    }
}
