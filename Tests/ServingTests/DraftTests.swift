import Foundation
import Language
import Testing

@testable import Serving

/// Drafts against PyTorch's greedy texts, which know nothing of drafts.
@Suite struct DraftTests {
    private static func folder(_ name: String) -> String {
        Golden.tests.appending(path: "Golden/\(name)").path(percentEncoded: false)
    }

    /// Writes every text with drafts and adds up how they fared.
    private func write(
        _ golden: GoldenTexts, _ setting: EngineRun.Setting
    ) async throws -> (drafted: Int, accepted: Int) {
        #expect(!golden.texts.isEmpty)
        return try await EngineRun.with(setting) { run in
            var (drafted, accepted) = (0, 0)
            for (index, text) in golden.texts.enumerated() {
                var request = GenerationRequest(
                    id: RequestID(rawValue: UInt64(index + 1)), prompt: text.prompt,
                    maxNewTokens: text.greedy.count)
                request.sampling = .greedy
                request.ignoresEndTokens = true
                let outcome = try await run.outcome(request)
                #expect(outcome.tokens == text.greedy, "text \(index)")
                drafted += outcome.usage.draftedTokens
                accepted += outcome.usage.acceptedTokens
            }
            return (drafted, accepted)
        }
    }

    @Test(arguments: ["T-f32", "Y-f32", "T-fp8"], [3, 512])
    func `greedy text with drafts is PyTorch's`(folder: String, stepTokens: Int) async throws {
        var setting = EngineRun.Setting(folder: Self.folder(folder))
        setting.engine.stepTokens = stepTokens
        setting.engine.runningLimit = 1
        let drafts = try await write(GoldenTexts(Self.folder(folder)), setting)
        #expect(drafts.drafted > 0)
    }

    @Test func `the shipped model writes PyTorch's stories and accepts most drafts`() async throws {
        let golden = try GoldenTexts(file: Self.folder("stories-fp8-expected.safetensors"))
        let drafts = try await write(golden, EngineRun.Setting(folder: Golden.stories))
        // PyTorch measured 78.9% over 475 drafts of more prompts.
        #expect(Double(drafts.accepted) > 0.65 * Double(drafts.drafted))
        #expect(drafts.drafted > 0)
    }
}
