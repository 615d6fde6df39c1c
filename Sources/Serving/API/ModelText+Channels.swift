import Language

/// What answers of messages in channels need.
extension ModelText {
    /// The tokens that end such an answer, whatever the checkpoint names as its end.
    var channelEnds: [Int] {
        channelTokens.filter { $0.value == .call || $0.value == .return }.map(\.key).sorted()
    }

    /// The tokens of messages by their ids; empty for other rules.
    static func channelTokens(
        _ chats: Result<ChatTemplate, LanguageError>, _ tokenizer: Tokenizer
    ) -> [Int: HarmonyToken] {
        guard case .success(let rules) = chats, rules.style == .gptOss else { return [:] }
        let pairs = HarmonyToken.allCases.compactMap { token in
            tokenizer.id(of: token.rawValue).map { ($0, token) }
        }
        return Dictionary(pairs) { first, _ in first }
    }

    /// The rules, if the tokenizer has the tokens without which they say nothing.
    static func checked(
        _ rules: ChatTemplate, _ tokenizer: Tokenizer
    ) -> Result<ChatTemplate, LanguageError> {
        guard rules.style == .gptOss,
            let missing = HarmonyToken.allCases.first(where: {
                tokenizer.id(of: $0.rawValue) == nil
            })
        else { return .success(rules) }
        return .failure(
            .chat(
                "the tokenizer has no token \(missing.rawValue), which chats of style "
                    + "\(rules.style.rawValue) need"))
    }
}

extension ThoughtCount.Marks {
    /// - Parameter channels: Whether thoughts are messages of a channel.
    init(_ tokenizer: Tokenizer, channels: Bool) {
        guard channels else {
            begin = tokenizer.id(of: ChatToken.beginThinking.rawValue)
            end = tokenizer.id(of: ChatToken.endThinking.rawValue)
            lines = (0 ..< tokenizer.vocabularySize).filter { id in
                let bytes = tokenizer.bytes(of: id)
                return !bytes.isEmpty && bytes.allSatisfy { $0 == UInt8(ascii: "\n") }
            }
            return
        }
        end = tokenizer.id(of: HarmonyToken.end.rawValue)
        let name = tokenizer.encode(
            "analysis", addSpecialTokens: false, recogniseAddedTokens: false)
        if let first = tokenizer.id(of: HarmonyToken.channel.rawValue),
            let last = tokenizer.id(of: HarmonyToken.message.rawValue)
        {
            opening = [first] + name + [last]
        }
    }
}
