/// Deals texts of a rank that is gone to others, which compute prompt and answer so far again: the
/// clients of a text see a pause until that is done.
///
/// A text goes to the rank with the least work, where a text that is there already counts as much
/// as one that is dealt, and the beginning that it shares with a text of the rank is no work. The
/// longest text is dealt first, so that the short ones fill what is uneven.
struct TextDealer {
    /// A text as far as that matters.
    struct Text: Sendable {
        let id: RequestID
        /// Hashes of its beginning, one after each `granule` of tokens.
        private(set) var beginnings: [Int] = []
        /// Tokens to compute where nothing of it is.
        let rows: Int
        /// Whether the rank that has it has computed its prompt.
        let hasBegun: Bool

        init(_ request: GenerationRequest, told: Resumption) {
            id = request.id
            rows = request.prompt.count + told.tokens.count
            hasBegun = told.hasBegun
            // Of a prompt that is scored nothing may come from the cache.
            guard request.promptTopLogprobs == nil else { return }
            var hasher = Hasher()
            hasher.combine(request.cacheSalt)
            for (index, token) in request.prompt.prefix(TextDealer.comparedTokens).enumerated() {
                hasher.combine(token)
                guard (index + 1) % TextDealer.granule == 0 else { continue }
                let soFar = hasher
                beginnings.append(soFar.finalize())
            }
        }
    }

    /// Tokens of a prompt that are compared with the beginnings of other texts: it bounds what
    /// is done while streams stand still.
    private static let comparedTokens = 4096
    /// Tokens that a cached beginning comes in, about: the router does not know the ranks' blocks.
    private static let granule = 64

    /// Tokens to compute at each rank, for each text there as many as one that moves has.
    private var work: [Int]
    /// The ranks that have computed a text with a beginning. Texts that are dealt are computed at
    /// the same time, and find nothing of each other.
    private var holders: [Int: Set<Int>] = [:]
    private let meanRows: Int

    /// - Parameters:
    ///   - moving: The texts that are to be dealt.
    ///   - held: Those that each rank has.
    init(_ moving: [Text], held: [[Text]]) {
        meanRows = moving.reduce(0) { $0 + $1.rows } / max(1, moving.count)
        work = held.map { [meanRows] in $0.count * meanRows }
        for (rank, texts) in held.enumerated() {
            for beginning in texts.filter(\.hasBegun).flatMap(\.beginnings) {
                holders[beginning, default: []].insert(rank)
            }
        }
    }

    /// The order in which texts are dealt.
    static func order(_ texts: [Text]) -> [Text] {
        texts.sorted { ($1.rows, $0.id) < ($0.rows, $1.id) }
    }

    /// Deals a text to one of the ranks; nil where there is none.
    mutating func deal(_ text: Text, among ranks: [Int]) -> Int? {
        func cost(_ rank: Int) -> Int { work[rank] + rows(text, at: rank) }
        guard let rank = ranks.min(by: { (cost($0), $0) < (cost($1), $1) }) else { return nil }
        work[rank] += rows(text, at: rank)
        return rank
    }

    /// Tokens of a text that a rank has to compute.
    private func rows(_ text: Text, at rank: Int) -> Int {
        let cached = text.beginnings.lastIndex { holders[$0]?.contains(rank) ?? false } ?? -1
        return max(1, text.rows - (cached + 1) * Self.granule)
    }
}
