import Foundation
import Testing

/// Pages whose commands are run as a reader would. `make test-docs` runs the slow ones too.
@Suite(.serialized) struct PageTests {
    static let quick = [
        "docs/tutorials/serve.md", "docs/how-to/convert-a-checkpoint.md",
        "Tests/Documents/served.md",
    ]

    /// The folder of the built programs: that of the test bundle, unless `APUS_PROGRAMS` says
    /// otherwise.
    static let programs =
        ProcessInfo.processInfo.environment["APUS_PROGRAMS"]
        ?? URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .path(percentEncoded: false)

    @Test(.timeLimit(.minutes(10)), arguments: quick)
    func `the commands of a page do what the page says`(page: String) throws {
        let environment = ["APUS_PROGRAMS": Self.programs]
        let (code, output) = try Documents.run(
            "Tests/Documents/run", [page], environment: environment)
        #expect(code == 0, "\(output)")
    }

    @Test func `a page that promises what does not happen fails`() throws {
        let page = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).md")
        defer { try? FileManager.default.removeItem(at: page) }
        for (directive, commands, fact) in [
            ("expect \"two\"", "echo one", "does not match"), ("code 3", "exit 2", "exit code 2"),
            ("background \"never\"", "echo once", "before it was to"),
        ] {
            try Data("<!-- test: \(directive) -->\n```sh\n\(commands)\n```\n".utf8).write(to: page)
            let (code, output) = try Documents.run(
                "Tests/Documents/run", [page.path(percentEncoded: false)])
            #expect(code == 1 && output.contains(fact), "\(directive): \(output)")
        }
    }
}
