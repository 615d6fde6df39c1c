import Language

/// Tells the words of an answer of messages from its headers and thoughts, in which stop strings
/// are not looked for.
struct ChannelGate {
    /// Whether the text at hand is words.
    private(set) var isSearched = true
    private var isHeader = false
    private var header = ""

    /// Longer than the name of any channel.
    private static let headerBytes = 64

    mutating func append(_ mark: HarmonyToken) {
        switch mark {
        case .start, .channel: (isHeader, isSearched, header) = (true, false, "")
        case .message where isHeader:
            isHeader = false
            isSearched = !header.utf8.starts(with: "analysis".utf8)
        case .end, .call, .return: (isHeader, isSearched) = (false, false)
        case .constrain, .message: break
        }
    }

    /// - Returns: Whether the text is words.
    mutating func append(_ text: String) -> Bool {
        if isHeader, header.utf8.count < Self.headerBytes { header += text }
        return isSearched
    }

    /// A text without the scalars that stand for tokens: no text has those as characters.
    static func withoutSigns(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { HarmonyToken(sign: $0) != nil }) else {
            return text
        }
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            scalars.append(HarmonyToken(sign: scalar) == nil ? scalar : "\u{FFFD}")
        }
        return String(scalars)
    }
}
