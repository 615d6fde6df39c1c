import Encoding
import Foundation

/// How many texts a server gave for each question.
public struct DeterminismReport: Sendable {
    /// How tokens were chosen.
    public enum Mode: String, CaseIterable, Sendable {
        /// The likeliest.
        case greedy
        /// Drawn, with a seed.
        case seeded
    }

    private struct Key: Hashable, Comparable {
        let mode: Mode
        let prompt: Int

        static func < (a: Key, b: Key) -> Bool {
            (a.mode.rawValue, a.prompt) < (b.mode.rawValue, b.prompt)
        }
    }

    private let model: String
    private let streams: Int
    private var texts: [Key: [String: Int]] = [:]
    /// Answers so far.
    private(set) var answers = 0

    init(model: String, streams: Int) {
        self.model = model
        self.streams = streams
    }

    mutating func add(_ text: String, to prompt: Int, _ mode: Mode) {
        texts[Key(mode: mode, prompt: prompt), default: [:]][text, default: 0] += 1
        answers += 1
    }

    /// Texts of the question that has most; 1 is what is promised.
    public var most: Int { texts.values.map(\.count).max() ?? 0 }

    private func most(of mode: Mode) -> Int {
        texts.filter { $0.key.mode == mode }.values.map(\.count).max() ?? 0
    }

    /// A line for each mode, and where two texts of one question part.
    public var text: String {
        var lines = ["\(model), \(streams) streams", "mode    prompts  answers  texts per prompt"]
        for mode in Mode.allCases {
            let those = texts.filter { $0.key.mode == mode }
            let count = those.values.flatMap(\.values).reduce(0, +)
            lines.append(
                mode.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
                    + String(format: "%7d  %7d  %d", those.count, count, most(of: mode)))
        }
        for (key, texts) in texts.sorted(by: { $0.key < $1.key }) where texts.count > 1 {
            let two = texts.sorted { ($0.value, $0.key) > ($1.value, $1.key) }.prefix(2).map(\.key)
            let same = zip(two[0], two[1]).prefix { $0 == $1 }.count
            let ends = two.map { JSONValue.quoted(String($0.dropFirst(same).prefix(24))) }
            lines.append(
                "\(key.mode.rawValue) prompt \(key.prompt): \(texts.count) texts, which part after "
                    + "\(same) characters: \(ends[0]) and \(ends[1])")
        }
        return lines.joined(separator: "\n")
    }

    /// The same as JSON.
    public var json: String {
        JSONValue.object(
            [
                ("model", .string(model)), ("streams", .number(streams)),
                ("answers", .number(answers)),
            ]
                + Mode.allCases.map { ("\($0.rawValue)TextsPerPrompt", .number(most(of: $0))) }
        ).text
    }
}
