public import Language

/// A token that an MTP block proposes, with the distribution it was drawn from.
public struct Draft: Sendable {
    /// The proposed token.
    public let token: Int
    /// What it was drawn from.
    public let distribution: TokenDistribution

    /// A draft that was drawn elsewhere.
    init(token: Int, distribution: TokenDistribution) {
        self.token = token
        self.distribution = distribution
    }

    /// Draws a draft for the token that follows what `sampler` has seen.
    ///
    /// - Parameter logits: `[vocabulary]`, the MTP block's.
    public init(_ logits: borrowing Span<Float>, sampler: Sampler) throws(LanguageError) {
        distribution = try sampler.distribution(logits)
        token = distribution.token(
            at: sampler.random.uniform(sampler.generatedCount, .draft))
    }
}

/// What becomes of a draft.
public enum DraftVerdict: Sendable, Equatable {
    /// The draft is taken.
    case accepted
    /// Another token is taken in its place.
    case replaced(by: Int)

    /// Decides so that the token taken is distributed as the main model would have drawn it.
    ///
    /// A draft `d` from `q` is accepted with probability `min(1, p(d) / q(d))`; otherwise a token
    /// is drawn from what `p` has over `q`. At temperature 0 this takes the likeliest token.
    ///
    /// - Parameters:
    ///   - target: `p`, the main model's distribution at this place.
    ///   - random: The text's random numbers.
    ///   - index: The place of the token in the text.
    ///
    /// Source: Leviathan et al., arXiv 2211.17192, §2.3.
    public init(
        _ draft: Draft, target: TokenDistribution, random: CounterRandom, index: Int
    ) {
        let proposed = draft.distribution.probability(of: draft.token)
        let wanted = target.probability(of: draft.token)
        if random.uniform(index, .acceptance) * proposed < wanted {
            self = .accepted
        } else {
            let rest = target.residual(after: draft.distribution)
            self = .replaced(by: rest.token(at: random.uniform(index, .replacement)))
        }
    }
}
