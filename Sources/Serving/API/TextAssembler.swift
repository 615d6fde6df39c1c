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
    /// The tokens of the answer's messages; empty for an answer that is one text.
    private let marks: [Int: HarmonyToken]
    private var channels: ChannelGate

    /// - Parameters:
    ///   - kept: Special tokens that are text all the same, because a parser reads them.
    ///   - gate: What keeps a thought from being searched for stop strings.
    ///   - marks: Tokens that become signs (`HarmonyToken.sign`), and tell where thoughts are.
    ///   - beginsInHeader: Whether the first message's header is to come.
    init(
        _ tokenizer: Tokenizer, stops: [String], skipsSpecialTokens: Bool, kept: Set<Int> = [],
        gate: ThoughtGate? = nil, marks: [Int: HarmonyToken] = [:],
        beginsInHeader: Bool = false
    ) {
        self.tokenizer = tokenizer
        self.skipsSpecialTokens = skipsSpecialTokens
        self.kept = kept
        decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecialTokens: false)
        scanner = StopScanner(stops)
        self.gate = stops.isEmpty || !marks.isEmpty ? nil : gate
        self.marks = marks
        channels = ChannelGate(beginsInHeader: beginsInHeader)
    }

    /// Whether a stop string was met.
    var hasStopped: Bool { scanner.hasStopped }
    /// Which one.
    var stopString: String? { scanner.found }

    /// The text that became certain with this token.
    ///
    /// - Parameter mayStop: Whether a stop string that ends with this token ends the text.
    mutating func append(_ token: Int, mayStop: Bool = true) -> String {
        if let mark = marks[token] { return append(mark, mayStop: mayStop) }
        if skipsSpecialTokens, tokenizer.isSpecial(token), !kept.contains(token) { return "" }
        return scan(decoder.append(token), mayStop: mayStop)
    }

    /// The rest of what came before the token, and its sign.
    private mutating func append(_ mark: HarmonyToken, mayStop: Bool) -> String {
        var text = scan(decoder.finish(), mayStop: mayStop)
        decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecialTokens: false)
        if channels.isSearched { text += scanner.finish() }
        channels.append(mark)
        return scanner.hasStopped ? text : text + String(mark.sign)
    }

    private mutating func scan(_ text: String, mayStop: Bool = true) -> String {
        guard marks.isEmpty else {
            let text = ChannelGate.withoutSigns(text)
            guard channels.append(text) else { return scanner.hasStopped ? "" : text }
            return scanner.append(text, mayStop: mayStop)
        }
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
