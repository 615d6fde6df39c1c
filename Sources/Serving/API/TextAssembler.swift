import Language

/// Turns the tokens of one answer into the text a client gets: whole characters, up to the first
/// stop string.
struct TextAssembler {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    private let kept: Set<Int>
    private var decoder: StreamingDecoder
    private var scanner: StopScanner
    /// Nil where the whole text is searched for stop strings.
    private var gate: ThoughtGate?

    /// - Parameters:
    ///   - kept: Special tokens that are text all the same, because a parser reads them.
    ///   - gate: What keeps a thought from being searched for stop strings.
    init(
        _ tokenizer: Tokenizer, stops: [String], skipsSpecialTokens: Bool, kept: Set<Int> = [],
        gate: ThoughtGate? = nil
    ) {
        self.tokenizer = tokenizer
        self.skipsSpecialTokens = skipsSpecialTokens
        self.kept = kept
        decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecialTokens: false)
        scanner = StopScanner(stops)
        self.gate = stops.isEmpty ? nil : gate
    }

    /// Whether a stop string was met.
    var hasStopped: Bool { scanner.hasStopped }
    /// Which one.
    var stopString: String? { scanner.found }

    /// The text that became certain with this token.
    ///
    /// - Parameter mayStop: Whether a stop string that ends with this token ends the text.
    mutating func append(_ token: Int, mayStop: Bool = true) -> String {
        if skipsSpecialTokens, tokenizer.isSpecial(token), !kept.contains(token) { return "" }
        return scan(decoder.append(token), mayStop: mayStop)
    }

    private mutating func scan(_ text: String, mayStop: Bool = true) -> String {
        guard let (thought, rest) = gate?.append(text) else {
            return scanner.append(text, mayStop: mayStop)
        }
        return thought + scanner.append(rest, mayStop: mayStop)
    }

    /// The rest.
    mutating func finish() -> String {
        var text = scan(decoder.finish())
        if let (thought, rest) = gate?.finish() { text += thought + scanner.append(rest) }
        return text + scanner.finish()
    }
}
