import Foundation
import NIOHTTP1
import Testing

@testable import Serving

/// The page that people open in a browser. `make test-page` uses it in one.
@Suite(.serialized) struct PageTests {
    private static let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../../Sources/Serving/Page").standardized

    /// The files as people wrote them, by their names.
    private static func files() throws -> [String: String] {
        let names = try FileManager.default.contentsOfDirectory(
            atPath: folder.path(percentEncoded: false))
        return try Dictionary(
            uniqueKeysWithValues: names.filter { !$0.hasSuffix(".swift") }.map {
                ($0, try String(contentsOf: folder.appending(path: $0), encoding: .utf8))
            })
    }

    private static func request(_ method: String, _ path: String, _ headers: String = "") -> String
    {
        "\(method) \(path) HTTP/1.1\r\nhost: x\r\n\(headers)connection: close\r\n\r\n"
    }

    @Test func `every file is served to callers without a key, as it was written`() async throws {
        try await APITests.withServer(ranks: 1, adjust: { api, _ in api.keys = ["secret"] }) {
            let files = try Self.files()
            #expect(files.count == PageFile.all.count)
            for (name, text) in files {
                let path = name == "index.html" ? "/" : "/\(name)"
                let answer = try await $0.send(.GET, path)
                #expect(answer.status == 200 && answer.text == text, "\(name)")
            }
            #expect(try await $0.send(.GET, "/metrics").status == 401)
            #expect(try await $0.send(.GET, "/page-none.js").status == 401)
            #expect(try await $0.send(.POST, "/").status == 405)
        }
    }

    @Test func `headers keep the page to its server, and a browser asks whether it changed`()
        async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            for (path, type) in [
                ("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"),
            ] {
                let got = try await WireTests.exchange(server.port, Self.request("GET", path))
                let end = try #require(got.firstRange(of: "\r\n\r\n"))
                let head = String(got[..<end.upperBound])
                for line in [
                    "content-type: \(type); charset=utf-8", "x-content-type-options: nosniff",
                    "referrer-policy: no-referrer", "cache-control: no-cache",
                    "content-security-policy: default-src 'none'; script-src 'self'; "
                        + "style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ] { #expect(head.contains("\r\n\(line)\r\n"), "\(path): \(head)") }
                // HEAD says the same, the length among it, but for the time.
                let other = try await WireTests.exchange(server.port, Self.request("HEAD", path))
                #expect(Self.lines(other) == Self.lines(head) && other.hasSuffix("\r\n\r\n"))
                let tag = try #require(head.firstMatch(of: /etag: ("\w+")/)).1
                for given in ["\(tag)", "W/\(tag)"] {
                    let again = try await WireTests.exchange(
                        server.port, Self.request("GET", path, "if-none-match: \(given)\r\n"))
                    #expect(again.hasPrefix("HTTP/1.1 304") && again.hasSuffix("\r\n\r\n"))
                }
                let changed = try await WireTests.exchange(
                    server.port, Self.request("GET", path, "if-none-match: \"0\"\r\n"))
                #expect(changed.hasPrefix("HTTP/1.1 200"))
            }
        }
    }

    private static func lines(_ head: String) -> Set<Substring> {
        Set(head.split(separator: "\r\n").filter { !$0.hasPrefix("date:") })
    }

    @Test func `no file of the page names another server`() throws {
        for (name, text) in try Self.files() {
            // The name of a language, at which nobody asks for anything.
            let own = text.replacing("http://www.w3.org/2000/svg", with: "")
            let addresses = own.matches(of: /(?:\w+:)?\/\/[\w\[]\S*/).map { String($0.0) }
                .filter { !$0.hasPrefix("//") || $0.contains(".") }
            #expect(addresses == [], "\(name)")
        }
    }

    @Test func `what a model writes never becomes markup or a program`() throws {
        let ways = [
            "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc", "eval(",
            "Function(", "createContextualFragment",
        ]
        for (name, text) in try Self.files() {
            for way in ways { #expect(!text.contains(way), "\(name) has \(way)") }
            // Nor does a file hold a script or a style that the policy would have to allow.
            if name.hasSuffix(".html") {
                #expect(
                    text.firstMatch(of: /<style|style=|\son\w+=|<script(?! type="module" src=)/)
                        == nil)
            }
        }
    }

    @Test func `files of the page fit on a screen`() throws {
        for (name, text) in try Self.files() {
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count <= 401, "\(name) has \(lines.count) lines")
            #expect(lines.allSatisfy { $0.count <= 100 }, "\(name)")
        }
    }

    @Test func `every series that the page reads is served`() throws {
        var engine = EngineStatistics()
        engine.expertBalance = ExpertBalance(ratio: 1, imbalance: 1)
        let metrics = ServiceMetrics()
        let now = ServiceMetrics.Now(
            connections: 0, rejections: (0, 0), generations: 0, bodyBytes: 0, lostRanks: 0,
            drainedRanks: 0, serves: true, keys: [])
        let text = metrics.text([engine], now: now)
        let served = Set(
            text.matches(of: /# TYPE apus:(\w+) (\w+)/).map { "\($0.1) \($0.2)" })
        let source = try #require(try Self.files()["page-metrics.js"])
        let lists = source.matches(of: /export const (\w+) = \[([^\]]+)\]/)
        #expect(
            lists.map { String($0.1) } == [
                "RANK_SERIES", "SERVER_SERIES", "LABELLED_SERIES", "HISTOGRAMS", "SPLIT_SERIES",
            ])
        for list in lists {
            for name in list.2.matches(of: /"(\w+)"/).map({ String($0.1) }) {
                let kind =
                    list.1 == "HISTOGRAMS"
                    ? "histogram" : name.hasSuffix("_total") ? "counter" : "gauge"
                #expect(served.contains("\(name) \(kind)"), "\(name) is no \(kind) of /metrics")
                if list.1 == "RANK_SERIES" { #expect(text.contains("apus:\(name){rank=\"0\"}")) }
            }
        }
        // The views read no series by a name that the lists lack.
        let known = Set(lists.flatMap { $0.2.matches(of: /"(\w+)"/).map { String($0.1) } })
        let views = try #require(try Self.files()["page-views.js"])
        let read = views.matches(of: /"([a-z_]+_(?:total|seconds|perc|blocks|ratio|imbalance))"/)
        #expect(read.count > 10)
        for name in read { #expect(known.contains(String(name.1)), "\(name.1)") }
    }
}
