import Encoding

/// Cuts text into the pieces that are encoded apart, as the `pre_tokenizer` of a
/// `tokenizer.json` says.
///
/// Each published split pattern is a scanner written by hand: one pass, no backtracking that
/// could revisit a byte more than a fixed number of times, so time is linear in the text
/// whatever it holds.
struct PreTokenizer: Sendable {
    /// One pattern; its matches, and what lies between them, become pieces.
    enum Split: Sendable, Equatable {
        /// `\p{N}{1,3}`
        case numbersOfThree
        /// `\p{N}`, and the `Digits` pre-tokenizer with `individual_digits`.
        case singleNumbers
        /// `[一-龥぀-ゟ゠-ヿ]+`
        case ideographs
        /// DeepSeek-V3's pattern of words, punctuation and white space.
        case deepSeekWords
        /// The pattern GPT-2's byte-level pre-tokenizer uses by itself.
        case gpt2Words
        /// Llama-3's pattern and GLM's (three digits at a time), Qwen's (one).
        case llamaWords(digits: Int)
        /// Kimi's pattern.
        case kimiWords
        /// GPT-4o's pattern, which MiniMax-M2 and gpt-oss have.
        case casedWords
        /// `[...]+` or `\s?[...]+`, as in DeepSeek-V2.
        case run(CharacterRanges, afterSpace: Bool)
        /// `[...]`.
        case single(CharacterRanges)
        /// `\s+$`
        case trailingSpace

        /// Whether every character belongs to a match, so that nothing lies between matches.
        var coversText: Bool {
            switch self {
            case .gpt2Words, .llamaWords, .kimiWords, .casedWords: true
            // DeepSeek's words leave numbers out.
            case .numbersOfThree, .singleNumbers, .ideographs, .deepSeekWords, .run, .single,
                .trailingSpace:
                false
            }
        }
    }

    let splits: [Split]

    /// The text's pieces as the offsets where each ends.
    ///
    /// Every stage cuts the pieces of the stage before it, and sees each as a text of its own:
    /// nothing matches across a cut.
    func pieceEnds(of text: [UInt8]) -> [Int] {
        guard !text.isEmpty else { return [] }
        var ends = [text.count]
        let classes = CharacterClass.classes(ofUTF8: text)
        for split in splits {
            let scanner = SplitScanner(split: split, classes: classes)
            var finer: [Int] = []
            finer.reserveCapacity(ends.count + text.count / 4)
            var start = 0
            for end in ends {
                scanner.cut(text, start ..< end, into: &finer)
                start = end
            }
            ends = finer
        }
        return ends
    }
}

extension PreTokenizer {
    /// - Throws: `TokenizerFault` for a kind or a pattern that has no scanner here.
    init(_ value: JSONValue?) throws(TokenizerFault) {
        var splits: [Split] = []
        var sawByteLevel = false
        for stage in try Self.stages(of: value) {
            switch stage["type"]?.string {
            case "Split": splits.append(try Self.split(stage))
            case "Digits":
                guard stage["individual_digits"]?.bool == true else {
                    throw TokenizerFault("Digits without individual_digits is not supported")
                }
                splits.append(.singleNumbers)
            case "ByteLevel":
                guard stage["add_prefix_space"]?.bool != true else {
                    throw TokenizerFault("ByteLevel with add_prefix_space is not supported")
                }
                if stage["use_regex"]?.bool ?? true { splits.append(.gpt2Words) }
                sawByteLevel = true
            case let type:
                throw TokenizerFault(
                    "pre_tokenizer \((type ?? "without type").printable()) is not supported")
            }
        }
        guard sawByteLevel else {
            throw TokenizerFault("pre_tokenizer has no ByteLevel; only byte-level BPE is supported")
        }
        self.splits = splits
    }

    private static func stages(of value: JSONValue?) throws(TokenizerFault) -> [JSONValue] {
        guard value?["type"]?.string == "Sequence" else { return [value ?? .null] }
        guard let stages = value?["pretokenizers"]?.array, stages.count <= 16 else {
            throw TokenizerFault("pre_tokenizer Sequence holds no list of at most 16 pretokenizers")
        }
        return stages
    }

    /// Removing what does not match is isolating the matches where nothing else is there.
    private static func split(_ stage: JSONValue) throws(TokenizerFault) -> Split {
        let isInverted = stage["invert"]?.bool == true
        let isIsolated = stage["behavior"]?.string == "Isolated" && !isInverted
        guard isIsolated || stage["behavior"]?.string == "Removed" && isInverted else {
            throw TokenizerFault(
                "Split is supported as Isolated, not inverted, or as Removed, inverted, only")
        }
        guard let pattern = stage["pattern"]?["Regex"]?.string else {
            throw TokenizerFault("Split has no pattern.Regex")
        }
        let split = try split(pattern: pattern)
        guard isIsolated || split.coversText else {
            throw TokenizerFault(
                "Split pattern \(pattern.printable()) leaves characters out, which Removed drops")
        }
        return split
    }

    private static func split(pattern: String) throws(TokenizerFault) -> Split {
        switch canonical(pattern) {
        case #"\p{N}{1,3}"#: return .numbersOfThree
        case #"\p{N}"#: return .singleNumbers
        case "[一-龥\u{3040}-ゟ゠-ヿ]+": return .ideographs
        case deepSeekPattern: return .deepSeekWords
        case gpt2Pattern: return .gpt2Words
        case llamaPattern(#"\p{N}{1,3}"#): return .llamaWords(digits: 3)
        case llamaPattern(#"\p{N}"#): return .llamaWords(digits: 1)
        case kimiPattern: return .kimiWords
        case casedPattern: return .casedWords
        case #"\s+$"#: return .trailingSpace
        case let other:
            guard let split = characters(other) else {
                throw TokenizerFault("Split pattern \(pattern.printable()) has no scanner here")
            }
            return split
        }
    }

    /// A pattern that is one class of characters.
    private static func characters(_ pattern: String) -> Split? {
        var rest = pattern[...]
        let afterSpace = rest.hasPrefix(#"\s?"#)
        if afterSpace { rest = rest.dropFirst(3) }
        let repeats = rest.hasSuffix("]+")
        if repeats { rest = rest.dropLast() }
        guard rest.hasPrefix("["), rest.hasSuffix("]"), repeats || !afterSpace,
            let set = CharacterRanges(rest.dropFirst().dropLast())
        else { return nil }
        return repeats ? .run(set, afterSpace: afterSpace) : .single(set)
    }

    /// Files spell the same pattern with CR, LF and quotes escaped or bare.
    private static func canonical(_ pattern: String) -> String {
        var result = ""
        for scalar in pattern.unicodeScalars {
            switch scalar {
            case "\r": result += #"\r"#
            case "\n": result += #"\n"#
            case "\"" where result.hasSuffix(#"\"#) && !result.hasSuffix(#"\\"#):
                result.removeLast()
                result += "\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static let deepSeekPattern =
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##
        + #"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"#
        + #"|\s+(?!\S)|\s+"#

    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let signsAndSpace =
        #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    private static func llamaPattern(_ numbers: String) -> String {
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers + signsAndSpace
    }

    private static let kimiPattern: String = {
        let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
        let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
        let begin = #"|[^\r\n\p{L}\p{N}]?"#
        return #"[\p{Han}]+"# + begin + upper + "*" + lower + "+" + contractions + "?" + begin
            + upper
            + "+" + lower + "*" + contractions + #"?|\p{N}{1,3}"# + signsAndSpace
    }()

    private static let casedPattern: String = {
        let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
        let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        let begin = #"[^\r\n\p{L}\p{N}]?"#
        return begin + upper + "*" + lower + "+" + contractions + "?|" + begin + upper + "+"
            + lower + "*" + contractions + #"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"#
            + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }()

    static let gpt2Pattern =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
}

/// What a tokenizer file says that is not supported or not true; the reader adds the file's name.
struct TokenizerFault: Error {
    let message: String

    init(_ message: String) { self.message = message }
}
