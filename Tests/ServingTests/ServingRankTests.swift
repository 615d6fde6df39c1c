import Encoding
import Foundation
import Language
import Models
import Synchronization
import Tensors
import Testing
import Topology
import Transport

import func TestSupport.onRanks

@testable import Serving

/// The one assembly of a rank behind workers, threads and commands.
@Suite struct ServingRankTests {
    @Test func `settings of a rank become the model's options, every one`() throws {
        let shape = try ModelConfiguration.load(directory: Golden.stories)
        var rank = ServingRankConfiguration(directory: Golden.stories)
        rank.contextTokens = 100
        rank.threads = 2
        rank.cores = 6
        rank.engine.sharedHeadBytes = 7
        rank.engine.sharedRows = 5
        let options = rank.modelOptions(of: shape, compute: .float32)
        #expect(options.compute == .float32)
        #expect(options.contextLimit == 100)
        #expect(options.nodeSharers == 3)
        #expect(options.sharedHeadBytes == 7)
        #expect(options.sharedRows == 5)
        #expect(options.copiesDraftExperts)
        rank.engine.speculates = false
        #expect(!rank.modelOptions(of: shape, compute: .float32).copiesDraftExperts)
    }

    @Test func `a rank goes through its phases in order and takes the checkpoint's compute`()
        throws
    {
        let fabric = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { fabric.close() }
        let phases = Mutex<[String]>([])
        var configuration = ServingRankConfiguration(directory: Golden.stories)
        configuration.contextTokens = 128
        let rank = try ServingRank(configuration, fabric: fabric, note: { _ in }) { phase in
            let name =
                switch phase {
                case .load: "load"
                case .warmUp: "warm-up"
                case .ready: "ready"
                }
            phases.withLock { if $0.last != name { $0.append(name) } }
        }
        #expect(phases.withLock { $0 } == ["load", "warm-up"])
        #expect(rank.options.compute == .bfloat16)
        #expect(rank.network.contextLimit == 128)
        #expect(rank.weightByteCount > 0)
        rank.engine.stop()
        try rank.run { _ in }
        #expect(phases.withLock { $0 } == ["load", "warm-up", "ready"])
    }

    @Test func `a rank comes back to ranks that hold some experts twice`() throws {
        var configuration = ServingRankConfiguration(directory: Golden.tiny)
        configuration.redundantExperts = 2
        let epoch = GroupEpoch(number: 3, rankCount: 2, living: [0, 1])
        let rank = try ServingRank(configuration, returningTo: epoch, as: 1)
        #expect(rank.weightByteCount > 0)
    }

    @Test func `placements have the layers that ranks count, not all that config.json announces`()
        throws
    {
        let source = URL(filePath: Golden.tiny)
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.copyItem(at: source, to: folder)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "config.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        let announced = text.replacing(
            "\"num_nextn_predict_layers\": 1", with: "\"num_nextn_predict_layers\": 2")
        #expect(announced != text)
        try Data(announced.utf8).write(to: file)
        let counts = try [folder.path(percentEncoded: false), Golden.tiny].map {
            try ServingRankConfiguration.expertPlacements(
                directory: $0, ranks: 2, redundantExperts: 2
            ).count
        }
        #expect(counts[0] == counts[1])
    }

    @Test func `threads of one process and ranks of a job are assembled alike`() async throws {
        var settings = ServingRankConfiguration(directory: Golden.tiny)
        settings.threads = 1
        settings.cores = 2
        let configuration = settings
        // As a worker does: one rank on each fabric that it joined.
        let places = try onRanks(3) { fabric in
            let rank = try ServingRank(configuration, fabric: fabric)
            return (rank.capacity, rank.options)
        }
        #expect(places.map(\.0.isSpare) == [false, false, true])
        #expect(places.map(\.1.nodeSharers) == [2, 2, 2])
        // As a command does: all ranks as threads. A spare rank gets no request of a few.
        let ranks = try LocalRanks(configuration, ranks: 3)
        defer { ranks.stop() }
        for id in UInt64(1) ... 4 {
            let request = GenerationRequest(
                id: RequestID(rawValue: id), prompt: [5, 6, 7], maxNewTokens: 2)
            for try await _ in try await ranks.router.submit(request) {}
        }
        #expect(ranks.statistics.map(\.generatedTokens)[2] == 0)
        #expect(ranks.statistics.map(\.generatedTokens)[0] > 0)
    }

    @Test func `apus generate and the HTTP API give one text for one seed, with drafts or without`()
        async throws
    {
        var texts: [String: String] = [:]
        for ranks in [1, 4] {
            for drafts in [true, false] {
                let name = "\(ranks) ranks, drafts \(drafts)"
                texts["generate, \(name)"] = try await Self.generated(ranks, drafts)
                texts["server, \(name)"] = try await Self.served(ranks, drafts)
            }
        }
        let first = try #require(texts["generate, 1 ranks, drafts false"])
        #expect(first.count > 100)
        for (name, text) in texts { #expect(text == first, "\(name)") }
    }

    private static let prompt = [0, 436, 446, 263, 407]

    private static func generated(_ ranks: Int, _ drafts: Bool) async throws -> String {
        var configuration = ServingRankConfiguration(directory: Golden.stories)
        configuration.engine.speculates = drafts
        let local = try LocalRanks(configuration, ranks: ranks)
        defer { local.stop() }
        let sampling = SamplingParameters(temperature: 0.9, seed: 42)
        let text = try await LocalGenerator(local, sampling).generate(prompt, maxNewTokens: 48)
        #expect((text.acceptance != nil) == drafts)
        return try ModelText(directory: Golden.stories).tokenizer.decode(text.tokens)
    }

    private static func served(_ ranks: Int, _ drafts: Bool) async throws -> String? {
        let server = try await TestServer(ranks: ranks) { $1.engine.speculates = drafts }
        let answer = try await server.post(
            "/v1/completions",
            #"{"prompt":[0,436,446,263,407],"max_tokens":48,"temperature":0.9,"top_p":1,"#
                + #""seed":42}"#)
        try await server.stop()
        return answer.json["choices"]?.array?.first?["text"]?.string
    }
}
