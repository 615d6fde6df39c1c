import Language

/// Counts the tokens of the thought that begins an answer.
struct ThoughtCount: Sendable {
    /// The tokens that stand around a thought; nil where the tokenizer has no such token.
    struct Marks: Sendable {
        var begin: Int?
        var end: Int?
        /// Tokens of line breaks alone, which may stand before a thought.
        var lines: [Int] = []
        /// One after another, at any place, they begin a thought; empty where the model has none
        /// of that kind.
        var opening: [Int] = []
    }

    private let marks: Marks
    private var isAtStart = true
    /// The last tokens outside of a thought, as many as may open one.
    private var recent: [Int] = []
    /// Whether the text so far ends inside a thought.
    private(set) var isInside: Bool
    /// Tokens so far, the marks that were generated included.
    private(set) var count = 0

    /// - Parameter isInside: Whether the prompt ends inside a thought.
    init(_ marks: Marks, isInside: Bool) {
        self.marks = marks
        self.isInside = isInside
    }

    mutating func append(_ token: Int) {
        if isAtStart, token == marks.begin { isInside = true }
        isAtStart = isAtStart && marks.lines.contains(token)
        guard isInside else { return open(token) }
        count += 1
        if token == marks.end { isInside = false }
    }

    private mutating func open(_ token: Int) {
        guard !marks.opening.isEmpty else { return }
        recent = (recent + [token]).suffix(marks.opening.count)
        guard recent == marks.opening else { return }
        count += recent.count
        (isInside, recent) = (true, [])
    }
}

extension ModelText {
    /// What ends a thought of so many tokens.
    ///
    /// - Throws: 400 where the tokenizer has no token that ends a thought.
    func thoughtBudget(_ tokens: Int?, isInside: Bool) throws(APIError) -> ThoughtBudget? {
        guard let tokens else { return nil }
        guard let end = thoughtMarks.end else {
            throw .invalid(
                "thinking_token_budget is \(tokens): this model has no token that ends a thought "
                    + "(\(ChatToken.endThinking.rawValue))",
                parameter: "thinking_token_budget")
        }
        return ThoughtBudget(
            tokens: tokens, beginToken: thoughtMarks.begin, opening: thoughtMarks.opening,
            lineTokens: thoughtMarks.lines,
            endToken: end, isInside: isInside)
    }
}

extension ThoughtBudget {
    /// Whether a token, after those before it, begins a thought.
    func opens(_ generated: [Int], _ token: Int) -> Bool {
        guard let last = opening.last, last == token else { return false }
        return generated.suffix(opening.count - 1).elementsEqual(opening.dropLast())
    }
}
