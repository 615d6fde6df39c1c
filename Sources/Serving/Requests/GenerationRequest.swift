public import Grammar
public import Language

/// Names one generation.
///
/// The HTTP API makes it; a caller's own id is never used for it.
public struct RequestID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, unique within a coordinator's life.
    public let rawValue: UInt64

    /// Names the request with this number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Orders requests by arrival.
    public static func < (a: RequestID, b: RequestID) -> Bool { a.rawValue < b.rawValue }
}

/// How far a text came on a rank before that rank was lost.
///
/// The text goes on after what was told of it, with the tokens that it would have had there.
struct Resumption: Codable, Hashable, Sendable {
    /// Whether `began` was reported.
    var hasBegun = false
    /// The tokens that were reported.
    var tokens: [Int] = []
}

/// Where a constraint begins, if not with the text.
///
/// From the token on the text follows the constraint; where that is complete and nothing may
/// follow, the text goes on freely, until the token comes again.
package struct ConstraintTrigger: Codable, Hashable, Sendable {
    /// Comes before what the constraint describes, and is no part of it.
    package var token: Int
    /// The byte with which the text before the token ends; without it nothing begins. Nil asks for
    /// none.
    package var after: UInt8?
    /// The tokens around a thought, in which nothing begins; nil where the model has none.
    package var thoughtBegin: Int?
    package var thoughtEnd: Int?
    /// Tokens of line breaks alone, which may stand before a thought.
    package var lines: [Int] = []
    /// Whether the prompt ends inside a thought.
    package var isInside: Bool
    /// The tokens that end the prompt, if the trigger stands before them there: the constraint has
    /// begun with the text. Nil where it has not.
    package var begun: [Int]?
}

/// How long the thought that begins a text may be.
package struct ThoughtBudget: Codable, Hashable, Sendable {
    /// Tokens of all thoughts of an answer, without their marks.
    package var tokens: Int
    /// Generated first, it begins a thought; nil where the model has no such token.
    package var beginToken: Int?
    /// Generated one after another, at any place, they begin a thought; empty where the model has
    /// no such beginning.
    package var opening: [Int] = []
    /// Tokens of line breaks alone, which may stand before a thought.
    package var lineTokens: [Int] = []
    /// It ends a thought, and is the next token after `tokens` others.
    package var endToken: Int
    /// Whether the prompt ends inside a thought.
    package var isInside: Bool
}

/// One prompt to continue, as it travels from the HTTP API to a rank's engine.
public struct GenerationRequest: Codable, Hashable, Sendable {
    /// Names it in the job.
    public var id: RequestID
    /// Token ids, at least one.
    public var prompt: [Int]
    /// Tokens to generate at most; 0 only evaluates the prompt.
    public var maxNewTokens: Int
    /// Tokens to generate before an end token may be chosen.
    package var minNewTokens: Int = 0
    /// How each token is chosen.
    public var sampling = SamplingParameters()
    /// Tokens that end the text, beside the model's own.
    package var stopTokens: [Int] = []
    /// Whether the model's own end tokens are generated like any other.
    package var ignoresEndTokens = false
    /// Alternatives to report with each generated token; nil reports no log-probabilities.
    package var topLogprobs: Int?
    /// Alternatives to report with each prompt token; nil reports none.
    package var promptTopLogprobs: Int?
    /// What the text must be.
    public var constraint: OutputConstraint?
    /// Where the constraint begins; nil for one of the whole text.
    package var trigger: ConstraintTrigger?
    /// Ends a thought that becomes longer; nil lets the model end it.
    package var thoughtBudget: ThoughtBudget?
    /// How far it came on a rank that is lost; nil for a request that was on no other.
    var resumption: Resumption?
    /// The first attempt's number of the hand-over that brings its prompt's cache entries; nil for
    /// a prompt that the rank computes itself.
    var handover: UInt64?
    /// Requests share cached prefixes only with requests of the same salt.
    package var cacheSalt: UInt64 = 0

    /// A request that continues a prompt.
    public init(id: RequestID, prompt: [Int], maxNewTokens: Int) {
        self.id = id
        self.prompt = prompt
        self.maxNewTokens = maxNewTokens
    }
}
