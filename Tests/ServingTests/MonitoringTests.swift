import Encoding
import Foundation
import NIOHTTP1
import Testing

@testable import Serving

/// `cluster/monitoring` and its page, beside what a server serves.
@Suite(.serialized) struct MonitoringTests {
    private static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../..").standardized

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// What a server with two ranks and two keys serves, once it has answered something.
    private static func metrics() async throws -> String {
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write(
            "alice: {key: \(KeyTests.alice), metrics: true}\nbob: \(KeyTests.bob)\n", folder)
        var text = ""
        try await APITests.withServer(ranks: 2, adjust: { api, _ in api.keyFile = path }) {
            let key = [("authorization", "Bearer \(KeyTests.alice)")]
            let body = #"{"prompt":"Once upon","max_tokens":4}"#
            #expect(try await $0.send(.POST, "/v1/completions", body, headers: key).status == 200)
            text = try await $0.send(.GET, "/metrics", headers: key).text
        }
        return text
    }

    /// Names that stand in a sample, and those of kinds whose samples this server does not have.
    private static func names(_ metrics: String) -> Set<String> {
        let samples = metrics.matches(of: /(?m)^(apus:\w+)[{ ]/).map { String($0.1) }
        let kinds = metrics.matches(of: /(?m)^# TYPE (apus:\w+) (?:gauge|counter)$/)
        return Set(samples + kinds.map { String($0.1) })
    }

    @Test func `dashboard and alerts ask for series that a server serves`() async throws {
        let served = Self.names(try await Self.metrics())
        for file in ["cluster/monitoring/dashboard.json", "cluster/monitoring/rules.yaml"] {
            let asked = Set(try Self.text(file).matches(of: /apus:\w+/).map { String($0.0) })
            #expect(asked.count > 5)
            #expect(asked.subtracting(served).sorted() == [], "\(file)")
        }
    }

    @Test func `the dashboard is what Grafana reads, and no panel covers another`() throws {
        let dashboard = try JSONValue.parse(Self.text("cluster/monitoring/dashboard.json"))
        var taken: Set<[Int]> = []
        var ids: Set<Int> = []
        for panel in dashboard["panels"]?.array ?? [] {
            #expect(panel["targets"]?.array?.first?["expr"]?.string?.isEmpty == false)
            #expect(ids.insert(try #require(panel["id"]?.integer)).inserted)
            let place = try #require(panel["gridPos"])
            let (x, y) = (try #require(place["x"]?.integer), try #require(place["y"]?.integer))
            let width = try #require(place["w"]?.integer)
            #expect(x + width <= 24)
            for column in x ..< x + width {
                for row in y ..< y + (try #require(place["h"]?.integer)) {
                    #expect(taken.insert([column, row]).inserted, "\(panel["title"]?.text ?? "")")
                }
            }
        }
        #expect(ids.count > 12)
    }

    @Test func `the page says how many series there are`() async throws {
        let page = try Self.text("docs/how-to/read-metrics.md")
        func stated(_ pattern: Regex<(Substring, Substring)>) throws -> Int {
            let match = try #require(page.firstMatch(of: pattern))
            return try #require(Int(match.1))
        }
        let samples = try await Self.metrics().matches(of: #/(?m)^apus:\w+(?:\{[^}]*\})? /#)
            .map { String($0.0) }
        func count(_ label: String) -> Int {
            samples.count { $0.contains("{\(label)=") }
        }
        let ofRanks = try stated(/(\d+) for each rank/)
        let ofKeys = try stated(/(\d+) for each\s+key/)
        let ofServer = try stated(/(\d+) of the server/)
        #expect(count("rank") == 2 * ofRanks)
        #expect(count("key") == 2 * ofKeys)
        let moving = ["rank", "key", "endpoint", "finished_reason"].reduce(0) { $0 + count($1) }
        #expect(samples.count - moving == ofServer)
    }
}
