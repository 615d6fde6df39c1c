import Language

/// Turns the tokens of one answer into the text a client gets: whole characters, up to the first
/// stop string.
struct TextAssembler {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    private let kept: Set<Int>
    private var decoder: StreamingDecoder
    private var scanner: StopScanner

    /// - Parameter kept: Special tokens that are text all the same, because a parser reads them.
    init(_ tokenizer: Tokenizer, stops: [String], skipsSpecialTokens: Bool, kept: Set<Int> = []) {
        self.tokenizer = tokenizer
        self.skipsSpecialTokens = skipsSpecialTokens
        self.kept = kept
        decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecialTokens: false)
        scanner = StopScanner(stops)
    }

    /// Whether a stop string was met.
    var hasStopped: Bool { scanner.hasStopped }

    /// The text that became certain with this token.
    mutating func append(_ token: Int) -> String {
        if skipsSpecialTokens, tokenizer.isSpecial(token), !kept.contains(token) { return "" }
        return scanner.append(decoder.append(token))
    }

    /// The rest.
    mutating func finish() -> String {
        let rest = scanner.append(decoder.finish())
        return rest + scanner.finish()
    }
}
