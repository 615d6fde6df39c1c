import Foundation

extension JobFile {
    /// Settings whose keys belong to other rooms.
    private static let open: Set<String> = ["engine", "api", "train.settings"]

    /// Puts what was written over the defaults, and refuses a key that is no field.
    static func overlaid(
        _ defaults: JobFile, with written: [String: Any], path: String
    ) throws -> JobFile {
        let bytes = try JSONEncoder().encode(defaults)
        guard let tree = try JSONSerialization.jsonObject(with: bytes) as? [String: Any] else {
            return defaults
        }
        let merged = try merge(tree, written, at: "", path: path)
        let result = try JSONSerialization.data(withJSONObject: merged)
        do {
            return try JSONDecoder().decode(JobFile.self, from: result)
        } catch let error as DecodingError {
            let values = try JSONDecoder().decode(SettingValue.self, from: result)
            throw ClusterError.badInput("\(path): \(words(for: error, in: values, of: Self.self))")
        }
    }

    /// Refuses what a job file cannot hold: dates, bytes, and numbers that are none.
    private static func check(_ value: Any?, at place: String, path: String) throws {
        if let value, !JSONSerialization.isValidJSONObject([value]) {
            let text = "\(value)".prefix(64)
            throw ClusterError.badInput(
                "\(path): \(place) is \(text), which is neither text, number, flag, list nor"
                    + " mapping; quotation marks make it a text")
        }
    }

    private static func merge(
        _ defaults: [String: Any], _ written: [String: Any], at place: String, path: String
    ) throws -> [String: Any] {
        var merged = defaults
        for key in written.keys.sorted() {
            let isOpen = open.contains(String(place.dropLast()))
            guard isOpen || defaults[key] != nil else {
                throw unknown("\(place)\(key)", Array(defaults.keys), path)
            }
            if let inner = defaults[key] as? [String: Any] {
                guard let values = written[key] as? [String: Any] else {
                    throw ClusterError.badInput("\(path): \(place)\(key) is not a mapping")
                }
                merged[key] = try merge(inner, values, at: "\(place)\(key).", path: path)
            } else if !isOpen, key == "groups" {
                merged[key] = try groups(written[key], path: path)
            } else {
                try check(written[key], at: "\(place)\(key)", path: path)
                merged[key] = written[key]
            }
        }
        return merged
    }

    /// Groups with their names filled in: one without a name is called after its role.
    private static func groups(_ written: Any?, path: String) throws -> [[String: Any]] {
        guard let list = written as? [Any] else {
            throw ClusterError.badInput("\(path): groups is not a list")
        }
        return try list.enumerated().map { index, item in
            let known = ["name", "role", "ranks"]
            guard var group = item as? [String: Any] else {
                throw ClusterError.badInput("\(path): groups[\(index)] is not a mapping")
            }
            if let other = group.keys.sorted().first(where: { !known.contains($0) }) {
                throw unknown("groups[\(index)].\(other)", known, path)
            }
            for key in ["role", "ranks"] where group[key] == nil {
                throw ClusterError.badInput("\(path): groups[\(index)].\(key) is missing")
            }
            for (key, value) in group {
                try check(value, at: "groups[\(index)].\(key)", path: path)
            }
            if group["name"] == nil { group["name"] = group["role"] }
            return group
        }
    }

    private static func unknown(_ key: String, _ known: [String], _ path: String) -> ClusterError {
        .badInput(
            "\(path): unknown key \"\(key)\"; known: \(known.sorted().joined(separator: ", "))")
    }

    /// What is wrong with one of some values that a type is read from, and where it stands.
    static func words<Value: Decodable>(
        for error: DecodingError, in values: SettingValue, of type: Value.Type
    ) -> String {
        // The decoder does not say where a number stands that the type cannot hold.
        if case .dataCorrupted(let context) = error, context.codingPath.isEmpty,
            let (place, number) = values.refusedNumber(of: type)
        {
            return "\(place) \(number) is not a whole number of 64 bits"
        }
        func place(_ context: DecodingError.Context) -> String {
            Self.place(context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue })
        }
        switch error {
        case .typeMismatch(let type, let context):
            return "\(place(context)) is not \(noun(type))"
        case .valueNotFound(let type, let context):
            return "\(place(context)) is empty: \(noun(type)) is expected"
        case .keyNotFound(let key, let context):
            return "\(place(context)).\(key.stringValue) is missing"
        case .dataCorrupted(let context):
            return "\(place(context)): \(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }

    /// A place as people write it, of its keys and of indices in brackets.
    static func place(_ parts: [String]) -> String {
        parts.reduce("") { place, part in
            place + (place.isEmpty || part.hasPrefix("[") ? "" : ".") + part
        }
    }

    /// What people call a value of this type.
    private static func noun(_ type: any Any.Type) -> String {
        switch type {
        case is Int.Type: "a whole number"
        case is Double.Type: "a number"
        case is Bool.Type: "true or false"
        case is String.Type: "a text"
        case is [Any].Type: "a list"
        default: "a mapping"
        }
    }
}
