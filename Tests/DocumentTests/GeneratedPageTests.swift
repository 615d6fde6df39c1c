import Foundation
import Testing

/// Pages that a command writes.
@Suite struct GeneratedPageTests {
    /// Scripts that write pages from data, each with an option that only compares.
    static let writers = ["docs/benchmarks/render", "docs/reference/render"]

    @Test(arguments: writers)
    func `a generated page is what its data gives`(writer: String) throws {
        let (code, output) = try Documents.run(writer, ["--check"])
        #expect(code == 0, "\(output)")
    }

    @Test func `the page of commands is what the built programs say`() throws {
        let (code, output) = try Documents.run(
            "docs/reference/render-commands", ["--check", PageTests.programs])
        #expect(code == 0, "\(output)")
    }
}
