/// Tells the thought that begins an answer from the rest, as the text arrives.
///
/// Stop strings are searched in the rest alone: they are meant for what the client reads as the
/// answer, and one inside a thought would leave the answer empty.
struct ThoughtGate {
    private enum Place { case start, inside, outside }

    // Bytes, as the parser compares them: a combining character after a mark does not hide it.
    private static let begin = "<think>".utf8
    private static let end = "</think>".utf8

    private var place: Place
    private var held = ""

    /// - Parameter isInside: Whether the prompt ends inside a thought.
    init(isInside: Bool) { place = isInside ? .inside : .start }

    /// Divides the text that became certain.
    mutating func append(_ text: String) -> (thought: String, rest: String) {
        guard place != .outside else { return ("", text) }
        held += text
        if place == .start {
            let words = held.utf8.drop { $0 == UInt8(ascii: "\n") }
            guard !Self.begin.starts(with: words) else {
                if words.elementsEqual(Self.begin) { place = .inside }
                return ("", "")
            }
            place = words.starts(with: Self.begin) ? .inside : .outside
            if place == .outside { return ("", take(held.endIndex)) }
        }
        if let mark = held.utf8.firstRange(of: Self.end) {
            place = .outside
            let thought = take(mark.upperBound)
            return (thought, take(held.endIndex))
        }
        var keep = min(Self.end.count - 1, held.utf8.count)
        while keep > 0, !Self.end.starts(with: held.utf8.suffix(keep)) { keep -= 1 }
        return (take(held.utf8.index(held.endIndex, offsetBy: -keep)), "")
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
