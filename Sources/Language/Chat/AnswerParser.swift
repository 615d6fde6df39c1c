import Foundation

/// Splits an answer, as it arrives, into thought, content and tool calls.
///
/// Understands both forms of a call that DeepSeek's models write: `function`, separator, name, then
/// JSON in a code fence; and name, separator, bare JSON.
public struct AnswerParser {
    /// A piece of an answer.
    public enum Piece: Hashable, Sendable {
        case reasoning(String)
        case content(String)
        case call(name: String, arguments: String)
    }

    private enum Place { case reasoning, content, calls }

    private var place: Place
    private let findsCalls: Bool
    private var held = ""
    private var hasContent = false

    static let endThinking = "</think>"
    package static let beginThinking = "<think>"
    package static let beginCalls = "<｜tool▁calls▁begin｜>"
    static let endCalls = "<｜tool▁calls▁end｜>"
    package static let beginCall = "<｜tool▁call▁begin｜>"
    static let endCall = "<｜tool▁call▁end｜>"
    public static let separator = "<｜tool▁sep｜>"

    /// - Parameters:
    ///   - beginsThinking: Whether the prompt ends inside a thought.
    ///   - findsCalls: Whether the request has tools; without them calls stay text.
    public init(beginsThinking: Bool, findsCalls: Bool) {
        place = beginsThinking ? .reasoning : .content
        self.findsCalls = findsCalls
    }

    /// The pieces that became certain with more text.
    public mutating func append(_ text: String) -> [Piece] {
        held += text
        var pieces: [Piece] = []
        while let piece = next() { pieces += piece }
        return pieces
    }

    /// The rest, when no more text comes.
    ///
    /// A call that was cut short stays text.
    public mutating func finish() -> [Piece] {
        defer { held = "" }
        switch place {
        case .reasoning: return held.isEmpty ? [] : [.reasoning(held)]
        case .content: return content(held)
        case .calls: return call(held).map { [$0] } ?? (held.isEmpty ? [] : [.content(held)])
        }
    }

    /// One step forward: pieces, or nil when more text is needed.
    private mutating func next() -> [Piece]? {
        guard !held.isEmpty else { return nil }
        switch place {
        case .reasoning:
            guard let (before, after) = cut(held, at: Self.endThinking) else {
                return release([Self.endThinking]).map { [.reasoning($0)] }
            }
            place = .content
            held = String(after)
            return before.isEmpty ? [] : [.reasoning(String(before))]
        case .content:
            if !hasContent, held.hasPrefix(Self.beginThinking) {
                held.removeFirst(Self.beginThinking.count)
                place = .reasoning
                return []
            }
            if findsCalls, let (before, after) = cut(held, at: Self.beginCalls) {
                place = .calls
                held = String(after)
                return content(String(before))
            }
            var marks = findsCalls ? [Self.beginCalls] : []
            if !hasContent { marks.append(Self.beginThinking) }
            return release(marks).map { content($0) }
        case .calls:
            if let (body, after) = cut(held, at: Self.endCall) {
                held = String(after)
                return [call(String(body)) ?? .content(String(body))]
            }
            guard let (_, after) = cut(held, at: Self.endCalls) else { return nil }
            place = .content
            held = String(after)
            return []
        }
    }

    /// Content, without the blank lines that separate it from a thought.
    private mutating func content(_ text: String) -> [Piece] {
        let text = hasContent ? Substring(text) : text.drop { $0 == "\n" }
        guard !text.isEmpty else { return [] }
        hasContent = true
        return [.content(String(text))]
    }

    /// Text that cannot be the beginning of a mark.
    private mutating func release(_ marks: [String]) -> String? {
        var count = 0
        for mark in marks {
            for length in stride(from: min(mark.count - 1, held.count), to: count, by: -1)
            where mark.hasPrefix(held.suffix(length)) {
                count = length
                break
            }
        }
        let text = String(held.dropLast(count))
        held = String(held.suffix(count))
        return text.isEmpty ? nil : text
    }

    private func cut(_ text: String, at mark: String) -> (Substring, Substring)? {
        text.firstRange(of: mark).map { (text[..<$0.lowerBound], text[$0.upperBound...]) }
    }

    private func call(_ body: String) -> Piece? {
        guard let (_, written) = cut(body + Self.endCall, at: Self.beginCall),
            let (head, tail) = cut(String(written), at: Self.separator)
        else { return nil }
        var rest = String(tail)
        if rest.hasSuffix(Self.endCall) { rest.removeLast(Self.endCall.count) }
        guard head == "function", let (name, fenced) = cut(rest, at: "\n```json\n") else {
            return .call(name: String(head), arguments: rest)
        }
        var arguments = String(fenced)
        if let fence = arguments.range(of: "\n```", options: .backwards) {
            arguments = String(arguments[..<fence.lowerBound])
        }
        return .call(name: String(name), arguments: arguments)
    }
}
