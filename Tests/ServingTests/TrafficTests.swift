import Collectives
import Encoding
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Topology

@testable import Serving

/// What `/traffic` and `/doctor` say.
@Suite(.serialized) struct TrafficTests {
    private static func statistics(_ rank: Int, _ sent: SentBytes) -> EngineStatistics {
        var statistics = EngineStatistics()
        statistics.rank = rank
        statistics.sent = sent
        return statistics
    }

    /// What a rank sent to some others; those of odd number are on another node.
    private static func sent(_ bytes: [(to: Int, bytes: Int)]) -> SentBytes {
        var sent = SentBytes()
        for (to, bytes) in bytes {
            sent.add(RankTraffic(bytes: bytes, crossesNodes: to % 2 == 1), to: to)
        }
        return sent
    }

    /// Returns once no rank counts bytes any more: the others end their last step after the rank
    /// that answers.
    private static func waitUntilSilent(_ ranks: LocalRanks) async throws {
        try await Wait.until("no rank sends any more") {
            let before = ranks.statistics.map(\.sent)
            try await Task.sleep(for: .milliseconds(50))
            return ranks.statistics.map(\.sent) == before
        }
    }

    /// What `/traffic` says of the nodes of two ranks on two machines.
    private static func nodes(
        _ server: TestServer, _ headers: [(String, String)]
    ) async throws -> JSONValue? {
        let names = ["gpu-7", "gpu-9"]
        server.ranks.router.note([
            GroupLoads(
                name: "", ranks: [Rank(rawValue: 0), Rank(rawValue: 1)], placements: [], loads: [],
                slots: [], nodes: NodePacking(names: names, groupCount: 1), nodeNames: names)
        ])
        let body = #"{"prompt":"Once upon","max_tokens":1}"#
        let text = try await server.send(.POST, "/v1/completions", body, headers: headers)
        #expect(text.status == 200)
        return try JSONValue.parse(
            await server.send(.GET, "/traffic", headers: headers).text)["nodes"]
    }

    @Test func `rates are what was sent between two samples`() throws {
        let begin = ContinuousClock.now
        let before = TrafficMatrix.Sample(
            [
                Self.statistics(0, Self.sent([(1, 1000), (2, 50)])),
                Self.statistics(2, Self.sent([(0, 7)])),
            ], at: begin)
        let now = TrafficMatrix.Sample(
            [
                Self.statistics(0, Self.sent([(1, 5000), (2, 250)])),
                // It was silent before, so nobody knows when it sent this.
                Self.statistics(1, Self.sent([(0, 9)])),
                // It began anew.
                Self.statistics(2, Self.sent([(0, 6)])),
            ], at: begin + .seconds(2))
        let json = TrafficMatrix(from: before, to: now, nodes: [0: "a", 1: "b", 2: "a"])
            .json(namesNodes: true)
        #expect(json["seconds"] == 2 && json["ranks"] == [0, 1, 2])
        #expect(json["nodes"] == ["a", "b", "a"])
        #expect(json["bytes_per_second"] == [[0, 2000, 100], [0, 0, 0], [3, 0, 0]])
        #expect(json["bytes"] == [[0, 5000, 250], [9, 0, 0], [6, 0, 0]])
        #expect(json["inside_node_bytes_per_second"] == [100, 0, 3])
        #expect(json["across_nodes_bytes_per_second"] == [2000, 0, 0])
        #expect(json["sent_bytes"] == [5250, 9, 6])
    }

    @Test func `what went to ranks that are away stays in the totals of its senders`() {
        let sent = Self.sent([(1, 5000), (2, 250), (3, 70), (4, 8)])
        let now = TrafficMatrix.Sample(
            [Self.statistics(0, sent), Self.statistics(1, SentBytes())], at: .now)
        let json = TrafficMatrix(from: now, to: now, nodes: [:]).json(namesNodes: true)
        #expect(json["bytes"] == [[0, 5000], [0, 0]])
        #expect(json["sent_bytes"] == [5328, 0])
    }

    @Test func `numbers in place of names tell which ranks share a node`() {
        let now = TrafficMatrix.Sample(
            (0 ..< 5).map { Self.statistics($0, SentBytes()) }, at: .now)
        let nodes = [0: "gpu-7", 1: "gpu-9", 2: "gpu-7", 4: "gpu-3"]
        let json = TrafficMatrix(from: now, to: now, nodes: nodes).json(namesNodes: false)
        #expect(json["nodes"] == ["0", "1", "0", "", "2"])
    }

    @Test func `bytes count for ranks as the job numbers them, in every epoch`() {
        let recorder = RankRecorder()
        recorder.enter([Rank(rawValue: 4), Rank(rawValue: 6), Rank(rawValue: 7)])
        let near = RankTraffic(bytes: 10, crossesNodes: false)
        let far = RankTraffic(bytes: 3, crossesNodes: true)
        recorder.count([near, near, far])
        // Rank 6 was lost.
        recorder.enter([Rank(rawValue: 4), Rank(rawValue: 7)])
        recorder.count([near, far])
        #expect(recorder.sent.toRanks == [0, 0, 0, 0, 20, 0, 10, 6])
        #expect(recorder.sent.insideNode == 30 && recorder.sent.acrossNodes == 6)
        #expect(recorder.sent.bytes(to: 100) == 0)
    }

    @Test func `a server says what its ranks send, once a second however many ask`() async throws {
        try await APITests.withServer(ranks: 2) { server in
            let body = #"{"prompt":"Once upon","max_tokens":8,"ignore_eos":true}"#
            #expect(try await server.send(.POST, "/v1/completions", body).status == 200)
            try await Self.waitUntilSilent(server.ranks)
            async let first = server.send(.GET, "/traffic")
            async let second = server.send(.GET, "/traffic")
            let (one, other) = try await (first, second)
            #expect(one.status == 200 && one.text == other.text)
            let json = try JSONValue.parse(one.text)
            #expect(json["ranks"] == [0, 1] && json["nodes"] == ["", ""])
            let bytes = try #require(json["bytes"]?.array).map { try #require($0.array) }
            #expect(bytes[0][0] == 0 && bytes[1][1] == 0)
            for (from, to) in [(0, 1), (1, 0)] {
                let sent = try #require(bytes[from][to].integer)
                #expect(sent > 0 && sent == Int(server.ranks.statistics[from].sent.insideNode))
            }
            #expect(json["bytes_per_second"] == [[0, 0], [0, 0]])
            let metrics = try await server.send(.GET, "/metrics").text
            #expect(metrics.contains("apus:sent_across_nodes_bytes_total{rank=\"1\"} 0.0"))
            let sent = server.ranks.statistics[1].sent.insideNode
            #expect(metrics.contains("apus:sent_inside_node_bytes_total{rank=\"1\"} \(sent).0"))
        }
    }

    @Test func `machines are named to an admin alone, and to no page of another origin`()
        async throws
    {
        let admin = "the-secret-of-the-operator"
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write(
            "alice: \(KeyTests.alice)\noperator: {key: \(admin), admin: true}\n", folder)
        try await APITests.withServer(adjust: { api, _ in
            api.keyFile = path
            api.cors = ["*"]
        }) { server in
            let ofAlice = ("authorization", "Bearer \(KeyTests.alice)")
            let ofAdmin = ("authorization", "Bearer \(admin)")
            let origin = ("origin", "https://a.example")
            let toAlice = try await Self.nodes(server, [ofAlice])
            let toAdmin = try await Self.nodes(server, [ofAdmin])
            let toPage = try await Self.nodes(server, [ofAdmin, origin])
            #expect(toAlice == ["0", "1"] && toAdmin == ["gpu-7", "gpu-9"])
            #expect(toPage == ["0", "1"])
        }
        try await APITests.withServer { server in
            let toAnybody = try await Self.nodes(server, [])
            #expect(toAnybody == ["0", "1"])
        }
    }

    @Test func `the checks' report is for nobody where keys are and none is an admin's`()
        async throws
    {
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write("alice: \(KeyTests.alice)\n", folder)
        try await APITests.withServer(
            ranks: 1, report: Data(#"{"job":"tale"}"#.utf8),
            adjust: { api, _ in api.keyFile = path }
        ) { server in
            #expect(try await server.send(.GET, "/doctor").status == 401)
            let answer = try await server.send(
                .GET, "/doctor", headers: [("authorization", "Bearer \(KeyTests.alice)")])
            #expect(answer.status == 403 && answer.text.contains("admin_key_required"))
        }
    }

    @Test func `the checks' report is read once however many ask`() async throws {
        let reads = Mutex(0)
        let report = Data(#"{"job":"tale"}"#.utf8)
        let answer = DoctorAnswer(on: WorkLane("test", niceness: 0)) {
            reads.withLock { $0 += 1 }
            return report
        }
        async let first = answer.text()
        async let second = answer.text()
        let texts = try await [first, second, answer.text()]
        #expect(texts == Array(repeating: ByteBuffer(bytes: report), count: 3))
        #expect(reads.withLock { $0 } == 1)
    }

    @Test(arguments: ["", "no JSON", "{\"job\":", "[1]"])
    func `a file that is no JSON object is no report`(_ text: String) async throws {
        let answer = DoctorAnswer(on: WorkLane("test", niceness: 0)) { Data(text.utf8) }
        #expect(try await answer.text() == nil)
    }

    @Test func `a report of the doctor is given as it was kept, to an admin where there is one`()
        async throws
    {
        let report = Data(#"{"job":"tale","failures":0,"warnings":0,"findings":[]}"#.utf8)
        try await APITests.withServer(ranks: 1) { server in
            let answer = try await server.send(.GET, "/doctor")
            #expect(answer.status == 404 && answer.text.contains("apus launch keeps one"))
        }
        try await APITests.withServer(ranks: 1, report: report) { server in
            let answer = try await server.send(.GET, "/doctor")
            #expect(answer.status == 200 && Data(answer.text.utf8) == report)
        }
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write(
            "alice: \(KeyTests.alice)\noperator: {key: the-secret-of-the-operator, admin: true}\n",
            folder)
        try await APITests.withServer(
            ranks: 1, report: report, adjust: { api, _ in api.keyFile = path }
        ) { server in
            let asked: [(path: String, key: String?)] = [
                ("/doctor", nil), ("/traffic", nil), ("/doctor", KeyTests.alice),
                ("/traffic", KeyTests.alice), ("/doctor", "the-secret-of-the-operator"),
            ]
            var answers: [Int] = []
            for (path, key) in asked {
                let headers = key.map { [("authorization", "Bearer \($0)")] } ?? []
                answers.append(try await server.send(.GET, path, headers: headers).status)
            }
            #expect(answers == [401, 401, 403, 200, 200])
        }
    }
}
