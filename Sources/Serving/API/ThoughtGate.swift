/// Tells the thought that begins an answer from the rest, as the text arrives.
///
/// Stop strings are looked for in the rest alone: they are meant for what the client reads as the
/// answer, and one inside a thought would leave the answer empty.
struct ThoughtGate {
    private enum Place { case start, inside, outside }

    private static let begin = "<think>"
    private static let end = "</think>"

    private var place: Place
    private var held = ""

    /// - Parameter isInside: Whether the prompt ends inside a thought.
    init(isInside: Bool) { place = isInside ? .inside : .start }

    /// Divides the text that became certain.
    mutating func append(_ text: String) -> (thought: String, rest: String) {
        guard place != .outside else { return ("", text) }
        held += text
        if place == .start {
            let words = held.drop { $0 == "\n" }
            guard !Self.begin.hasPrefix(words) else {
                if words == Self.begin { place = .inside }
                return ("", "")
            }
            place = words.hasPrefix(Self.begin) ? .inside : .outside
            if place == .outside { return ("", take(held.endIndex)) }
        }
        if let mark = held.firstRange(of: Self.end) {
            place = .outside
            let thought = take(mark.upperBound)
            return (thought, take(held.endIndex))
        }
        var keep = min(Self.end.count - 1, held.count)
        while keep > 0, !Self.end.hasPrefix(held.suffix(keep)) { keep -= 1 }
        return (take(held.index(held.endIndex, offsetBy: -keep)), "")
    }

    /// What was held back, when no more text comes.
    mutating func finish() -> (thought: String, rest: String) {
        let text = take(held.endIndex)
        return place == .inside ? (text, "") : ("", text)
    }

    private mutating func take(_ end: String.Index) -> String {
        defer { held = String(held[end...]) }
        return String(held[..<end])
    }
}
