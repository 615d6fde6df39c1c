public import Language
import Tensors

/// Writes one text, token by token, with or without drafts.
///
/// Drafting (DeepSeek-V3 report, §5.4.3): the MTP block guesses the token after next; the main
/// model then runs over the next token and the guess at once, which on memory-bound hardware costs
/// little more than one, and tells whether the guess stands.
///
/// Invariants:
/// 1. The main cache holds `cached` tokens of `tokens`; the rest has not been through the model.
/// 2. With drafts, the MTP cache holds every position whose next token was known when it ran.
public final class TextGenerator {
    /// How a text is written.
    public struct Options: Sendable {
        /// How tokens are chosen.
        public var sampling: SamplingParameters
        /// Whether MTP drafts are tried.
        public var drafts: Bool
        /// Prompt tokens per pass: enough rows to keep the matrix kernels busy.
        public var chunkTokens = 512

        /// Describes how a text is written.
        public init(sampling: SamplingParameters = .greedy, drafts: Bool = false) {
            self.sampling = sampling
            self.drafts = drafts
        }
    }

    /// How drafts fared.
    public struct Acceptance: Sendable, Equatable {
        /// Drafts that were verified.
        public var draftCount = 0
        /// Drafts that stood.
        public var acceptedCount = 0

        /// The fraction that stood, nil before the first draft.
        public var rate: Double? {
            draftCount == 0 ? nil : Double(acceptedCount) / Double(draftCount)
        }
    }

    /// The text so far, prompt included.
    public private(set) var tokens: [Int] = []
    /// How drafts fared.
    public private(set) var acceptance = Acceptance()
    private let model: Model
    private let cache: LatentCache
    private let options: Options
    private var sampler: Sampler
    private var blocks: [BlockID] = []
    private var cached = 0
    private var draft: Draft?

    /// Begins an empty text.
    ///
    /// - Throws: `ModelError.request` if drafts are wanted of a model without an MTP block.
    public init(_ model: Model, cache: LatentCache, options: Options) throws {
        guard !options.drafts || model.canDraft else {
            throw ModelError.request("drafts need an MTP block; the model has none")
        }
        try options.sampling.validate(vocabularySize: model.configuration.vocabularySize)
        self.model = model
        self.cache = cache
        self.options = options
        sampler = Sampler(options.sampling)
    }

    deinit { for block in blocks { cache.release(block) } }

    /// Tokens that may still be added.
    public var room: Int { model.contextLimit - tokens.count }

    /// Appends a prompt and chooses the token that follows it.
    ///
    /// - Returns: The first new token.
    public func start(_ prompt: [Int]) throws -> Int {
        guard !prompt.isEmpty else { throw ModelError.request("the prompt has no token") }
        guard prompt.count < room else {
            throw ModelError.request(
                "\(tokens.count + prompt.count) tokens and one more exceed the context of "
                    + "\(model.contextLimit) (max_position_embeddings)")
        }
        tokens += prompt
        draft = nil
        sampler = Sampler(options.sampling, prompt: tokens)
        try reserve(tokens.count)
        while true {
            let end = min(cached + options.chunkTokens, tokens.count)
            let isLast = end == tokens.count
            let first = cached
            let result = try run(first ..< end, wanted: isLast ? .last : .none)
            if isLast {
                let token = try sampler.sample(result.logits.row(0))
                take(token)
                try makeDraft(after: first ..< end, result.hidden)
                return token
            }
            // The next token of every row is known: it stands in the prompt.
            if let hidden = result.hidden { _ = try follow(first ..< end, hidden, .none) }
        }
    }

    /// Chooses the next token, or two where a draft stands.
    public func next() throws -> [Int] {
        precondition(cached == tokens.count - 1, "next before start")
        let first = cached
        guard let draft, room > 1 else {
            let result = try run(first ..< first + 1, wanted: .last)
            let token = try sampler.sample(result.logits.row(0))
            take(token)
            try makeDraft(after: first ..< first + 1, result.hidden)
            return [token]
        }
        let result = try run(first ..< first + 1, followedBy: draft.token, wanted: .all)
        let place = sampler.generatedCount
        let verdict = DraftVerdict(
            draft, target: try sampler.distribution(result.logits.row(0)),
            random: sampler.random, index: place)
        acceptance.draftCount += 1
        switch verdict {
        case .replaced(let token):
            take(token)
            cached = first + 1
            try makeDraft(after: first ..< first + 1, result.hidden)
            return [token]
        case .accepted:
            acceptance.acceptedCount += 1
            take(draft.token)
            let token = try sampler.sample(result.logits.row(1))
            take(token)
            try makeDraft(after: first ..< first + 2, result.hidden)
            return [draft.token, token]
        }
    }

    private func take(_ token: Int) {
        tokens.append(token)
        sampler.append(token)
    }

    private func reserve(_ count: Int) throws {
        guard cache.extend(&blocks, tokens: count) else {
            throw ModelError.request(
                "\(count) tokens need \(cache.blocksNeeded(tokens: count)) blocks of the cache; "
                    + "\(cache.freeCount + blocks.count) are there")
        }
    }

    /// Runs the main model over some of the text, and perhaps a draft after it.
    private func run(
        _ range: Range<Int>, followedBy draft: Int? = nil, wanted: WantedLogits
    ) throws -> ForwardResult {
        let piece = Array(tokens[range]) + (draft.map { [$0] } ?? [])
        try reserve(range.lowerBound + piece.count)
        let chunk = SequenceChunk(
            tokens: piece, position: range.lowerBound, blocks: blocks, wanted: wanted)
        let result = try model.forward([chunk], cache: cache, keepsHidden: options.drafts)
        cached = range.lowerBound + piece.count
        return result
    }

    /// Runs the MTP block over positions whose next tokens are known.
    private func follow(
        _ range: Range<Int>, _ hidden: Tensor, _ wanted: WantedLogits
    ) throws -> ForwardResult {
        let following = Array(tokens[range.lowerBound + 1 ... range.upperBound])
        let chunk = SequenceChunk(
            tokens: following, position: range.lowerBound, blocks: blocks, wanted: wanted)
        return try model.draft([chunk], hidden: hidden.view(rows: 0 ..< range.count), cache: cache)
    }

    /// Draws the next draft from the positions that just ran.
    private func makeDraft(after range: Range<Int>, _ hidden: Tensor?) throws {
        draft = nil
        guard options.drafts, let hidden else { return }
        let result = try follow(range, hidden, .last)
        draft = try Draft(result.logits.row(0), sampler: sampler)
    }
}
