import Language

/// Tells the words of an answer of messages from its headers and thoughts, in which stop strings
/// are not searched.
struct ChannelGate {
    /// Whether the text at hand is words.
    private(set) var isSearched: Bool
    private var isHeader: Bool
    /// Whether the header at hand is that of the prompt, which names no channel yet.
    private var isFirst: Bool
    private var header = ""

    /// What a header holds before its channel, where it is a call's.
    private static let receiver = " to="
    /// Longer than the name of any channel.
    private static let headerBytes = 64

    /// - Parameter beginsInHeader: Whether the text begins with a header, and not with words.
    init(beginsInHeader: Bool = false) {
        isSearched = !beginsInHeader
        isHeader = beginsInHeader
        isFirst = beginsInHeader
    }

    mutating func append(_ mark: HarmonyToken) {
        isFirst = false
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
        if isFirst, !header.utf8.starts(with: Self.receiver.utf8),
            !Self.receiver.utf8.starts(with: header.utf8)
        {
            // The model leaves the header out.
            (isFirst, isHeader, isSearched) = (false, false, true)
        }
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
