import Foundation
import Testing

/// `SECURITY.md`, whose lines name the tests that try an attack.
@Suite struct SecurityPageTests {
    @Test func `every attack of the page is tried by a test that there is`() throws {
        let lines = try Documents.text("SECURITY.md").split(separator: "\n")
        let named = lines.compactMap { line in
            line.wholeMatch(of: /\| [^|]+ \| [^|]+ \| `([^`]+)` \|/).map { String($0.1) }
        }
        // Its header, and the line beneath, name none.
        let table = lines.filter { $0.hasPrefix("| ") && $0.hasSuffix(" |") }
        #expect(named.count == table.count - 1 && named.count > 20)
        let tests = try Documents.files(endings: ["swift"], under: ["Tests"])
            .map { try String(contentsOf: $0, encoding: .utf8) }.joined(separator: "\n")
        for name in named {
            #expect(tests.contains("func `\(name)`"), "there is no test \"\(name)\"")
        }
    }
}
