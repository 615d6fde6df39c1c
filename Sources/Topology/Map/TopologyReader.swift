import Yams

/// Reads the mappings of a topology file, each value with its line, its place and its limit.
struct TopologyReader {
    /// One mapping of the file.
    struct Section {
        let path: String
        /// Where it stands, as `nodes[3].`; empty for the file itself.
        let place: String
        let line: Int?
        private let values: [String: Node]

        /// - Throws: `TopologyError` for what is no mapping or has a key that is not among `known`.
        init(_ node: Node, path: String, place: String, known: Set<String>) throws(TopologyError) {
            self.path = path
            self.place = place
            line = node.mark?.line
            guard let mapping = node.mapping else {
                let subject = place.isEmpty ? "the file" : String(place.dropLast())
                throw .file(
                    path: path,
                    reason: Self.at(line) + "\(subject) is not a mapping of keys to values")
            }
            var values: [String: Node] = [:]
            for (key, value) in mapping {
                let name = key.string ?? "?"
                guard known.contains(name) else {
                    let list = place.isEmpty ? "" : " in \(place.dropLast())"
                    throw .file(
                        path: path,
                        reason: Self.at(key.mark?.line)
                            + "unknown key \"\(name)\"\(list); known: "
                            + known.sorted().joined(separator: ", "))
                }
                if value.null == nil { values[name] = value }
            }
            self.values = values
        }

        private static func at(_ line: Int?) -> String { line.map { "line \($0): " } ?? "" }

        func fault(_ key: String, _ fact: String) -> TopologyError {
            let line = values[key]?.mark?.line ?? line
            return .file(path: path, reason: Self.at(line) + "\(place)\(key) \(fact)")
        }

        func string(_ key: String) throws(TopologyError) -> String? {
            guard let node = values[key] else { return nil }
            guard let text = node.scalar?.string else { throw fault(key, "is not a text") }
            return text
        }

        func number(
            _ key: String, in range: ClosedRange<Double>
        ) throws(TopologyError) -> Double? {
            guard let node = values[key] else { return nil }
            let text = node.scalar?.string ?? "a list or mapping"
            guard let value = Double(text) else { throw fault(key, "\"\(text)\" is not a number") }
            guard range.contains(value) else {
                throw fault(
                    key,
                    "\(text) is not \(Self.limit(range.lowerBound)) to "
                        + Self.limit(range.upperBound))
            }
            return value
        }

        func count(_ key: String, in range: ClosedRange<Int>) throws(TopologyError) -> Int? {
            guard let node = values[key] else { return nil }
            let text = node.scalar?.string ?? "a list or mapping"
            guard let value = Int(text) else {
                throw fault(key, "\"\(text)\" is not a whole number")
            }
            guard range.contains(value) else {
                throw fault(key, "\(text) is not \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }

        func choice<Value: RawRepresentable & CaseIterable>(
            _ key: String, _ type: Value.Type
        ) throws(TopologyError) -> Value? where Value.RawValue == String {
            guard let text = try string(key) else { return nil }
            guard let value = Value(rawValue: text) else {
                let known = type.allCases.map(\.rawValue).joined(separator: ", ")
                throw fault(key, "\"\(text)\" is none of \(known)")
            }
            return value
        }

        func strings(_ key: String) throws(TopologyError) -> [String] {
            guard let node = values[key] else { return [] }
            guard let list = node.sequence else { throw fault(key, "is not a list") }
            var result: [String] = []
            for element in list {
                guard let text = element.scalar?.string else {
                    throw fault(key, "holds what is not a text")
                }
                result.append(text)
            }
            return result
        }

        func section(_ key: String, known: Set<String>) throws(TopologyError) -> Section? {
            guard let node = values[key] else { return nil }
            return try Section(node, path: path, place: key + ".", known: known)
        }

        func sections(_ key: String, known: Set<String>) throws(TopologyError) -> [Section]? {
            guard let node = values[key] else { return nil }
            guard let list = node.sequence else { throw fault(key, "is not a list") }
            var result: [Section] = []
            for (index, element) in list.enumerated() {
                result.append(
                    try Section(element, path: path, place: "\(key)[\(index)].", known: known))
            }
            return result
        }

        func required<Value>(
            _ key: String, _ value: Value?
        ) throws(TopologyError) -> Value {
            guard let value else {
                throw fault(key, "is missing")
            }
            return value
        }

        /// A limit as people write it: no fraction where there is none.
        private static func limit(_ value: Double) -> String {
            value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
        }
    }

    /// Reads the one document of a file.
    static func root(
        yaml: String, path: String, known: Set<String>
    ) throws(TopologyError) -> Section {
        let node: Node?
        do { node = try InputFile.compose(yaml) } catch {
            throw .file(
                path: path, reason: "\(error)".split(separator: "\n").joined(separator: " "))
        }
        guard let node else {
            throw .file(path: path, reason: "the file is not a mapping of keys to values")
        }
        return try Section(node, path: path, place: "", known: known)
    }
}
