import Foundation
import Testing

/// What every document promises, whatever it is about.
@Suite struct LinkTests {
    @Test(arguments: Documents.all)
    func `every link of a document leads somewhere`(document: URL) throws {
        let text = try String(contentsOf: document, encoding: .utf8)
        for match in text.matches(of: /\]\(([^)\s]+)\)/) {
            let target = String(match.1)
            guard !target.contains("://"), !target.hasPrefix("mailto:") else { continue }
            let parts = target.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
            let path = parts[0].isEmpty ? document.lastPathComponent : String(parts[0])
            let file = document.deletingLastPathComponent().appending(path: path).standardized
            guard FileManager.default.fileExists(atPath: file.path(percentEncoded: false)) else {
                Issue.record("\(Documents.name(of: document)) links to \(target): no such file")
                continue
            }
            guard parts.count == 2 else { continue }
            let anchors = try Self.anchors(of: String(contentsOf: file, encoding: .utf8))
            #expect(
                anchors.contains(String(parts[1])),
                "\(Documents.name(of: document)) links to \(target): no such heading")
        }
    }

    @Test(arguments: Documents.all)
    func `no document needs a folder outside the repository`(document: URL) throws {
        let text = try String(contentsOf: document, encoding: .utf8)
        for foreign in ["../" + "shared", "/" + "work/"] {
            #expect(!text.contains(foreign), "\(Documents.name(of: document)) names \(foreign)")
        }
    }

    @Test func `the front page is short, and its figures are those of the benchmarks`() throws {
        let page = try Documents.text("README.md")
        #expect(page.split(separator: "\n", omittingEmptySubsequences: false).count <= 121)
        let table = page.split(separator: "\n").drop { $0 != "## Five figures" }.dropFirst()
            .prefix { !$0.hasPrefix("## ") }
        #expect(table.count > 7)
        let benchmarks = try Documents.text("docs/benchmarks.md")
        for row in table.drop(while: { !$0.hasPrefix("|---") }).dropFirst() {
            let measured = row.split(separator: "|").last ?? ""
            for number in measured.matches(of: /\d+(?:\.\d+)?/) {
                #expect(benchmarks.contains(number.0), "\(number.0) is no benchmark: \(row)")
            }
        }
    }

    @Test func `anchors are the headings as a browser finds them`() {
        let anchors = Self.anchors(of: "# A title\n## `apus launch`, 4 ranks: x\n## A title\n")
        #expect(anchors == ["a-title", "apus-launch-4-ranks-x", "a-title-1"])
    }

    /// The anchors that a Markdown page has, by the rules of GitHub and GitLab.
    static func anchors(of text: String) -> Set<String> {
        var counts: [String: Int] = [:]
        var anchors: Set<String> = []
        for line in text.split(separator: "\n") where line.hasPrefix("#") {
            let heading = line.drop { $0 == "#" }.dropFirst().lowercased()
            let anchor = String(
                heading.compactMap { character -> Character? in
                    if character == " " { return "-" }
                    let isKept =
                        character.isLetter || character.isNumber || "-_".contains(character)
                    return isKept ? character : nil
                })
            let count = counts[anchor, default: 0]
            anchors.insert(count == 0 ? anchor : "\(anchor)-\(count)")
            counts[anchor] = count + 1
        }
        return anchors
    }
}
