import Foundation
import Testing
import Yams

@testable import Cluster

/// `cluster/job.schema.json`, by which editors check job files, beside the job files of the
/// repository and the reader of them.
@Suite struct JobSchemaTests {
    private static let root = JobFileTests.folder.appending(path: "..").standardized

    /// Every job file of the repository.
    private static let files = ["cluster", "Examples/jobs"].flatMap { folder in
        let names =
            (try? FileManager.default.contentsOfDirectory(
                atPath: root.appending(path: folder).path(percentEncoded: false))) ?? []
        return names.filter { $0.hasSuffix(".yaml") }.sorted().map { "\(folder)/\($0)" }
    }

    private static func schema() throws -> SettingValue {
        try JSONDecoder().decode(
            SettingValue.self,
            from: Data(contentsOf: JobFileTests.folder.appending(path: "job.schema.json")))
    }

    private static func faults(_ yaml: String) throws -> [String] {
        try SchemaCheck.faults(
            of: YAMLDecoder().decode(SettingValue.self, from: yaml), by: schema(), at: "")
    }

    @Test func `there are job files to check`() { #expect(Self.files.count >= 5) }

    @Test(arguments: files)
    func `every job file fits the schema, and is read`(file: String) throws {
        let path = Self.root.appending(path: file)
        #expect(try Self.faults(String(contentsOf: path, encoding: .utf8)) == [])
        _ = try JobConfiguration(contentsOf: path.path(percentEncoded: false))
    }

    @Test(arguments: [
        "model: m\nranks: 0", "model: m\nranks: two", "model: m\nrank: 2", "ranks: 2",
        "model: m\ndeadlines: {silenceSeconds: 0.1}", "model: m\ntransport: pigeon",
        "model: m\nname: a/b", "model: m\ngroups: [{role: expert, ranks: 2}]",
        "model: m\ngroups: [{role: serve}]", "model: m\nhttp: {port: 70000}", "model: ''",
        "model: m\ngroups: 3", "model: m\ndeadlines: {coordinatorSeconds: 2}",
    ])
    func `a file that the reader refuses does not fit the schema`(yaml: String) throws {
        #expect(try !Self.faults(yaml).isEmpty)
        #expect(throws: ClusterError.self) { try JobConfiguration(yaml: yaml, path: "a") }
    }
}

/// The keywords of JSON Schema that `job.schema.json` has.
private enum SchemaCheck {
    private static let annotations: Set<String> = ["$schema", "title", "description", "default"]

    static func faults(
        of value: SettingValue, by schema: SettingValue, at place: String
    ) -> [String] {
        guard case .mapping(let keywords) = schema else { return ["\(place): no schema"] }
        return keywords.sorted { $0.key < $1.key }.flatMap { key, rule -> [String] in
            if annotations.contains(key) { return [] }
            let isRight = check(key, rule, keywords, value)
            if let isRight { return isRight ? [] : ["\(place) is not \(key)"] }
            return inner(key, rule, keywords, value, place)
        }
    }

    /// Nil for a keyword that reads parts of the value.
    private static func check(
        _ key: String, _ rule: SettingValue, _ keywords: [String: SettingValue],
        _ value: SettingValue
    ) -> Bool? {
        switch (key, rule, value) {
        case ("type", .text(let name), _): return kinds(of: value).contains(name)
        case ("type", .list(let names), _):
            return names.contains { kinds(of: value).map(SettingValue.text).contains($0) }
        case ("enum", .list(let list), _): return list.contains(value)
        case ("minLength", .integer(let least), .text(let text)): return text.count >= least
        case ("pattern", .text(let pattern), .text(let text)):
            return (try? Regex(pattern)).map { text.contains($0) } ?? false
        case ("minimum", _, _): return compare(value, rule, >=)
        case ("maximum", _, _): return compare(value, rule, <=)
        case ("exclusiveMinimum", _, _): return compare(value, rule, >)
        case ("required", .list(let names), .mapping(let mapping)):
            return names.allSatisfy { name in mapping.keys.contains { .text($0) == name } }
        case ("anyOf", .list(let choices), _):
            return choices.contains { faults(of: value, by: $0, at: "").isEmpty }
        case ("properties", _, _), ("additionalProperties", _, _), ("items", _, _): return nil
        default: return false
        }
    }

    private static func inner(
        _ key: String, _ rule: SettingValue, _ keywords: [String: SettingValue],
        _ value: SettingValue, _ place: String
    ) -> [String] {
        var known: [String: SettingValue] = [:]
        if case .mapping(let properties) = keywords["properties"] { known = properties }
        switch (key, value) {
        case ("properties", .mapping(let mapping)):
            return known.flatMap { name, schema in
                mapping[name].map { faults(of: $0, by: schema, at: "\(place).\(name)") } ?? []
            }
        case ("additionalProperties", .mapping(let mapping)):
            return mapping.filter { known[$0.key] == nil }.flatMap { name, value in
                rule == .flag(false)
                    ? ["\(place).\(name) is unknown"]
                    : faults(of: value, by: rule, at: "\(place).\(name)")
            }
        case ("items", .list(let list)):
            return list.flatMap { faults(of: $0, by: rule, at: "\(place)[]") }
        default: return []
        }
    }

    private static func kinds(of value: SettingValue) -> Set<String> {
        switch value {
        case .flag: ["boolean"]
        case .integer: ["integer", "number"]
        case .number: ["number"]
        case .text: ["string"]
        case .list: ["array"]
        case .mapping: ["object"]
        }
    }

    private static func compare(
        _ value: SettingValue, _ limit: SettingValue, _ isRight: (Double, Double) -> Bool
    ) -> Bool {
        func number(_ value: SettingValue) -> Double? {
            switch value {
            case .integer(let integer): Double(integer)
            case .number(let number): number
            default: nil
            }
        }
        guard let value = number(value), let limit = number(limit) else { return true }
        return isRight(value, limit)
    }
}
