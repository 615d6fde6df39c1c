import Foundation
import Yams

/// A group of keys in a training file: every stored property is a key, and its value in `init()`
/// is the default.
protocol FileKeys: Codable {
    /// What the group is, in errors.
    static var title: String { get }
    /// Keys that the file must have.
    static var required: [String] { get }
    init()
}

extension FileKeys {
    /// All keys, in the order in which they are declared.
    static var keys: [String] { Mirror(reflecting: Self()).children.compactMap(\.label) }

    /// The key that a name in snake_case stands for, as files had them in version 0.1.
    private static func key(forOldName name: String) -> String? {
        guard name.contains("_") else { return nil }
        return keys.first { Self.oldName($0) == name }
    }

    /// The name that a key had.
    static func oldName(_ key: String) -> String {
        key.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
    }

    /// The known key that takes the fewest changes of letters.
    private static func nearestKey(to name: String) -> String {
        func plain(_ word: String) -> [Character] {
            word.lowercased().filter { $0 != "_" && $0 != "-" }
        }
        let wanted = plain(name)
        return keys.min { distance(plain($0), wanted) < distance(plain($1), wanted) } ?? ""
    }

    /// Letters to add, take away or replace (Levenshtein 1966).
    private static func distance(_ from: [Character], _ to: [Character]) -> Int {
        var row = Array(0 ... to.count)
        for (index, letter) in from.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in to.enumerated() {
                let replaced = diagonal + (letter == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
            }
        }
        return row[to.count]
    }

    /// Puts what a file states over the defaults.
    ///
    /// - Parameters:
    ///   - path: The file, for messages.
    ///   - prefix: The group's own key with a dot, for messages.
    ///   - renamed: Gets a word for each key that was read by its old name.
    /// - Throws: `TrainingError.job` for a key that is missing, unknown, or there by both names.
    static func complete(
        _ written: Node.Mapping, path: String, prefix: String = "", renamed: inout [String]
    ) throws -> Node.Mapping {
        let defaults = String(decoding: try JSONEncoder().encode(Self()), as: UTF8.self)
        // JSON is YAML.
        guard var values = try Yams.compose(yaml: defaults)?.mapping else {
            preconditionFailure("the defaults of \(title) are no mapping: \(defaults)")
        }
        var found: Set<String> = []
        for (node, value) in written {
            let name = node.string ?? "\(node.any)"
            let key: String
            if keys.contains(name) {
                key = name
            } else if let new = Self.key(forOldName: name) {
                guard written[new] == nil else {
                    throw TrainingError.job(
                        prefix + name, fact: "is the old name of \(new), which is there too")
                }
                renamed.append("\(prefix)\(name) is \(prefix)\(new)")
                key = new
            } else {
                throw TrainingError.job(
                    prefix + name,
                    fact: "is not a key of \(title): the nearest is "
                        + "\(prefix)\(nearestKey(to: name))")
            }
            // A key without a value keeps its default.
            guard value.null == nil else { continue }
            found.insert(key)
            values[key] = value
        }
        if let missing = required.first(where: { !found.contains($0) }) {
            throw TrainingError.job("\(path):", fact: "\(prefix)\(missing) is missing")
        }
        return values
    }
}
