import Foundation
import Models
import Pipeline
import Testing

@testable import Training

/// `docs/reference/training-file.md` is what the code says: every key with its type, unit, default
/// and meaning.
@Suite struct TrainingFilePageTests {
    private static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    private static let page = root.appending(path: "docs/reference/training-file.md")

    /// What a doc comment says of a stored property.
    private struct Meaning {
        var text = ""
        var unit = ""
    }

    /// The doc comments of a file's stored properties, by name.
    private static func meanings(in source: String) throws -> [String: Meaning] {
        let file = root.appending(path: source)
        var found: [String: Meaning] = [:]
        var comment = Meaning()
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("/// - Unit: ") {
                comment.unit = String(line.dropFirst(12))
            } else if line.hasPrefix("///") {
                comment.text += (comment.text.isEmpty ? "" : " ") + line.dropFirst(4)
            } else {
                let words = line.split(separator: " ").drop { $0 == "public" }
                if words.first == "var", let name = words.dropFirst().first {
                    let name = name.prefix { $0.isLetter }
                    found[String(name)] = found[String(name)] ?? comment
                }
                comment = Meaning()
            }
        }
        return found
    }

    private static func kind(of value: Any) -> String {
        var name = "\(type(of: value))"
        if name.hasPrefix("Optional<") { name = String(name.dropFirst(9).dropLast()) }
        return switch name {
        case "String", "ScheduleKind", "TrainingPrecision": "text"
        case "Array<String>": "list of text"
        case "Bool": "true or false"
        case "Int", "UInt64": "whole number"
        case "Double", "Float": "number"
        case "Teacher": "group of keys"
        default: name
        }
    }

    private static func standard(_ value: Any, isRequired: Bool) -> String {
        if isRequired { return "required" }
        let text =
            switch value {
            case let list as [String]: list.isEmpty ? "" : "\(list)"
            case let kind as ScheduleKind: kind.rawValue
            case let precision as TrainingPrecision: precision.rawValue
            default: "\(value)"
            }
        return text.isEmpty || text == "nil" ? "none" : "`\(text)`"
    }

    /// The words that a text may be, where the code has a list of them.
    private static func choices(_ value: Any) -> String {
        let words: [String] =
            switch value {
            case is ScheduleKind:
                ScheduleKind.allCases.filter { $0 != .forwardOnly }.map(\.rawValue)
            case is TrainingPrecision: TrainingPrecision.allCases.map(\.rawValue)
            default: []
            }
        return words.isEmpty ? "" : " One of `\(words.joined(separator: "`, `"))`."
    }

    private static func table<Group: FileKeys>(
        _ group: Group.Type, prefix: String, source: String
    ) throws -> [String] {
        let meanings = try meanings(in: source)
        return Mirror(reflecting: Group()).children.map { key, value in
            let key = key ?? ""
            let meaning = meanings[key] ?? Meaning()
            let columns = [
                "`\(prefix)\(key)`", kind(of: value), meaning.unit,
                standard(value, isRequired: Group.required.contains(key)),
                meaning.text + choices(value),
            ]
            return "| " + columns.joined(separator: " | ") + " |"
        }
    }

    @Test func `the page has every key with its type, unit, default and meaning`() throws {
        let head = ["| Key | Type | Unit | Default | Meaning |", "|---|---|---|---|---|"]
        let job = try Self.table(
            TrainingJob.self, prefix: "", source: "Sources/Training/Job/TrainingJob.swift")
        let teacher = try Self.table(
            Teacher.self, prefix: "teacher.", source: "Sources/Training/Job/Teacher.swift")
        let text = try String(contentsOf: Self.page, encoding: .utf8)
        let found = text.split(separator: "\n").map(String.init).filter { $0.hasPrefix("|") }
        let wanted = head + job + head + teacher
        let differing = zip(found, wanted).first { $0 != $1 }
        #expect(
            found == wanted,
            """
            the first row that differs: \
            \(differing.map { "\($0.0)\nmust be\n\($0.1)" } ?? "none"); \
            all rows:\n\(wanted.joined(separator: "\n"))
            """)
    }

    @Test func `every key has a meaning that a reader can use`() throws {
        for source in ["Job/TrainingJob.swift", "Job/Teacher.swift"] {
            let meanings = try Self.meanings(in: "Sources/Training/" + source)
            for key in source.hasSuffix("TrainingJob.swift") ? TrainingJob.keys : Teacher.keys {
                #expect(meanings[key]?.text.hasSuffix(".") == true, "\(key)")
            }
        }
    }
}
