import Foundation
import Testing

/// Reference pages that people write, held beside the source.
@Suite struct ReferenceTests {
    @Test func `the page of environment variables names every variable, and no other`() throws {
        let sources =
            Documents.product
            + Documents.files(endings: ["swift", "py", "sh", "c"], under: ["Tests", "cluster"])
        var used: Set<String> = []
        for file in sources where !file.path(percentEncoded: false).contains("DocumentTests") {
            used.formUnion(Self.variables(in: try String(contentsOf: file, encoding: .utf8)))
        }
        let page = Self.variables(in: try Documents.text("docs/reference/environment.md"))
        #expect(page.count > 10)
        #expect(used.subtracting(page).sorted() == [], "in the source and not on the page")
        #expect(page.subtracting(used).sorted() == [], "on the page and not in the source")
    }

    /// The names of `ExitStatus` and their numbers.
    private static func exitCodes() throws -> [String: String] {
        let source = try Self.source(of: "public enum ExitStatus", or: "package enum ExitStatus")
        let codes = source.matches(of: /\n        case \.(\w+): (\d+)(?=\n)/)
            .map { (String($0.1), String($0.2)) }
        return Dictionary(uniqueKeysWithValues: codes)
    }

    @Test func `the page of exit codes has the numbers of the source, and no other`() throws {
        let codes = try Self.exitCodes()
        #expect(codes.count >= 4)
        let page = try Documents.text("docs/reference/exit-codes.md")
        let rows = page.matches(of: /\n\| `(\d+)` \|/).map { String($0.1) }
        #expect(rows == codes.values.sorted())
        let source = try Self.source(of: "public enum ExitStatus", or: "package enum ExitStatus")
        let first = try #require(source.firstMatch(of: /firstSignal: Int32 = (\d+)/)).1
        #expect(page.contains("\n| `\(first) + N` |"))
    }

    @Test func `the page of exit codes says which end of a job has which code`() throws {
        let source = try Self.source(of: "public enum JobEnd", or: "package enum JobEnd")
        let page = try Documents.text("docs/reference/exit-codes.md")
        let ends = Set(source.matches(of: /\n    case (\w+)/).map { String($0.1) })
        #expect(ends.count >= 5)
        let codes = try Self.exitCodes()
        let status = try #require(source.firstMatch(of: /var exitStatus(?:.*\n)+?    }\n/)).0
        var checked: Set<String> = []
        for line in status.matches(of: /\n        case (\.\w+(?:, \.\w+)*): \.(\w+)(?=\n)/) {
            let code = try #require(codes[String(line.2)])
            for end in line.1.split(separator: ", ").map({ String($0.dropFirst()) }) {
                #expect(page.contains("\n| `\(end)` | \(code) |"), "\(end) ends with \(code)")
                checked.insert(end)
            }
        }
        // What a rank says itself depends on how far it was.
        #expect(ends.subtracting(checked) == ["failed"])
        let (early, late) = (codes["badInput"] ?? "", codes["failed"] ?? "")
        #expect(page.contains("\n| `failed` before a rank was ready | \(early) |"))
        #expect(page.contains("\n| `failed` later | \(late) |"))
    }

    @Test func `the page of metrics names every metric, and no other`() throws {
        let source = try Self.source(of: "class ServiceMetrics", or: "struct ServiceMetrics")
        let served = Set(
            source.matches(of: /(?:each|text\.add)\(\s*"([a-z0-9_]+)"/).map { "apus:\($0.1)" })
        let page = Set(
            try Documents.namesInTables(of: "docs/reference/metrics.md")
                .filter { $0.hasPrefix("apus:") })
        #expect(served.count > 20)
        #expect(served.subtracting(page).sorted() == [], "in the source and not on the page")
        #expect(page.subtracting(served).sorted() == [], "on the page and not in the source")
    }

    @Test func `constants of the page of formats have the values of the source`() throws {
        let page = try Documents.text("docs/reference/formats.md")
        let source = try Documents.product.map { try String(contentsOf: $0, encoding: .utf8) }
            .joined(separator: "\n")
        let constants = page.matches(of: /\| `(\w+)` \| `([^`]+)` \|/)
        #expect(constants.count >= 8)
        for constant in constants {
            #expect(
                source.contains("static let \(constant.1) = \(constant.2)\n"),
                "\(constant.1) is not \(constant.2) in the source")
        }
        for magic in page.matches(of: /magic `(0x[0-9a-f_]+)`/) {
            #expect(source.contains(magic.1), "no magic \(magic.1) in the source")
        }
    }

    @Test func `the page of the topology file names every key, and no other`() throws {
        let source = try Self.source(of: "static let knownKeys", or: "static let knownKeys")
        let block = try #require(source.firstMatch(of: /knownKeys: [^=]+= \[\n((?:.*\n)+?)    \]/))
        var keys: Set<String> = []
        for line in block.1.matches(of: /"(\w*)": \[([^\]]+)\]/) {
            let place = line.1.isEmpty ? "" : "\(line.1)."
            keys.formUnion(line.2.matches(of: /"(\w+)"/).map { place + $0.1 })
        }
        let page = Set(
            try Documents.text("docs/reference/topology-file.md").matches(
                of: /\n\| `([\w.]+)` \| [^|]+ \| [^|]+ \|/
            ).map { String($0.1) })
        #expect(keys.count > 5)
        #expect(page == keys)
    }

    /// The Apus variables that a text names, less those by which a test talks to its own children.
    private static func variables(in text: String) -> Set<String> {
        Set(
            text.matches(of: /APUS_[A-Z_]*[A-Z]/).map { String($0.0) }
                .filter { !$0.hasPrefix("APUS_TEST") })
    }

    /// The one source file that holds a declaration.
    private static func source(of declaration: String, or other: String) throws -> String {
        let texts = try Documents.product.map { try String(contentsOf: $0, encoding: .utf8) }
        let found = texts.filter { $0.contains(declaration) || $0.contains(other) }
        #expect(found.count == 1, "\(declaration) stands in \(found.count) files")
        return try #require(found.first)
    }
}
