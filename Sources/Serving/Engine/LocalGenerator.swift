public import Language
import Synchronization

/// Writes one text after another with the ranks of this process.
///
/// The engine is the server's, so a text is the one that the server gives for the same prompt,
/// options and seed.
public final class LocalGenerator: Sendable {
    /// What was written.
    public struct Text: Sendable {
        /// The new tokens, without the one that ended the text.
        public internal(set) var tokens: [Int] = []
        /// What the text cost.
        public internal(set) var usage = GenerationUsage()

        /// The fraction of drafts that were accepted, nil without drafts.
        public var acceptance: Double? {
            usage.draftedTokens == 0
                ? nil : Double(usage.acceptedTokens) / Double(usage.draftedTokens)
        }
    }

    private let ranks: LocalRanks
    private let sampling: SamplingParameters
    private let lastID = Mutex<UInt64>(0)

    /// Writes with these ranks, which nobody else uses meanwhile.
    public init(_ ranks: LocalRanks, _ sampling: SamplingParameters) {
        self.ranks = ranks
        self.sampling = sampling
    }

    /// Continues a prompt until a token ends the text, or the limit.
    ///
    /// - Parameter each: Told every token as it comes.
    /// - Throws: `ServingError`, or what `each` throws.
    public func generate(
        _ prompt: [Int], maxNewTokens: Int, _ each: (Int) throws -> Void = { _ in }
    ) async throws -> Text {
        var request = GenerationRequest(
            id: nextID(), prompt: prompt, maxNewTokens: maxNewTokens)
        request.sampling = sampling
        var text = Text()
        for try await event in try await ranks.router.submit(request) {
            switch event {
            case .began, .failed: break
            case .tokens(let tokens):
                for token in tokens {
                    text.tokens.append(token.token)
                    try each(token.token)
                }
            case .finished(_, let usage): text.usage = usage
            }
        }
        return text
    }

    private func nextID() -> RequestID {
        lastID.withLock { id in
            id += 1
            return RequestID(rawValue: id)
        }
    }
}
