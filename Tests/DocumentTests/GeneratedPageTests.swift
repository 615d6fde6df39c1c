import Foundation
import Testing

/// Pages that a command writes.
@Suite struct GeneratedPageTests {
    /// Scripts that write pages from data, each with an option that only compares.
    static let writers = ["docs/benchmarks/render"]

    @Test(arguments: writers)
    func `a generated page is what its data gives`(writer: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3", Documents.root.appending(path: writer).path(), "--check"]
        let errors = Pipe()
        process.standardError = errors
        try process.run()
        let words = try errors.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(String(decoding: words, as: UTF8.self))")
    }
}
