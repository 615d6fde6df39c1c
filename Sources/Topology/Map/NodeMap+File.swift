import Yams

extension NodeMap {
    /// Reads a file of `topology/` and checks it.
    ///
    /// - Throws: `TopologyError.file` when it is not YAML, has an unknown key, or fails `validate`.
    public init(contentsOf path: String) throws(TopologyError) {
        let text: String
        do throws(InputError) {
            text = try InputFile.text(of: path)
        } catch {
            throw .file(path: path, reason: "\(error)")
        }
        try self.init(yaml: text, path: path)
    }

    /// Reads the text of a topology file; `path` is only for messages.
    public init(yaml: String, path: String) throws(TopologyError) {
        let written: WrittenMap
        do {
            let tree = try InputFile.compose(yaml)
            try Self.checkKeys(tree?.any)
            written = try YAMLDecoder().decode(WrittenMap.self, from: tree ?? [:])
        } catch let error as TopologyError {
            throw error.at(path)
        } catch {
            throw .file(path: path, reason: Self.words(for: error))
        }
        self = written.map
        try validate(path: path)
    }

    /// What a file's keys may be, by the list they stand in.
    static let knownKeys: [String: Set<String>] = [
        "": ["name", "about", "nodes", "planes"],
        "nodes": ["name", "ranks"],
        "planes": ["name", "gigabitsPerSecond", "maximumPacketBytes"],
    ]

    private static func checkKeys(_ tree: Any?) throws(TopologyError) {
        guard let tree = tree as? [String: Any] else {
            throw .file(path: "", reason: "the file is not a mapping of keys to values")
        }
        try checkKeys(of: tree, in: "")
        for list in ["nodes", "planes"] {
            for case let entry as [String: Any] in tree[list] as? [Any] ?? [] {
                try checkKeys(of: entry, in: list)
            }
        }
    }

    private static func checkKeys(of entry: [String: Any], in list: String) throws(TopologyError) {
        let known = knownKeys[list] ?? []
        guard let stray = entry.keys.filter({ !known.contains($0) }).min() else { return }
        let place = list.isEmpty ? "" : " in \(list)"
        throw .file(
            path: "",
            reason:
                "unknown key \"\(stray)\"\(place); known: \(known.sorted().joined(separator: ", "))"
        )
    }

    private static func words(for error: any Error) -> String {
        guard let error = error as? DecodingError else {
            return "\(error)".split(separator: "\n").joined(separator: " ")
        }
        switch error {
        case .keyNotFound(let key, let context):
            return "\(place(context.codingPath))\(key.stringValue) is missing"
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            return "\(place(context.codingPath))expected \(type)"
        case .dataCorrupted(let context):
            return "\(place(context.codingPath))\(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }

    private static func place(_ path: [any CodingKey]) -> String {
        path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
            + (path.isEmpty ? "" : ": ")
    }
}

extension TopologyError {
    fileprivate func at(_ path: String) -> TopologyError {
        if case .file(_, let reason) = self { .file(path: path, reason: reason) } else { self }
    }
}

/// The file as people write it: rates in Gbit/s, defaults left out.
private struct WrittenMap: Decodable {
    struct Node: Decodable {
        var name: String
        var ranks: Int?
    }

    struct Plane: Decodable {
        var name: String
        var gigabitsPerSecond: Double?
        var maximumPacketBytes: Int?
    }

    var name: String
    var about: String?
    var nodes: [Node]
    var planes: [Plane]

    var map: NodeMap {
        NodeMap(
            name: name, about: about,
            nodes: nodes.map { NodeMap.Node(name: $0.name, ranks: $0.ranks ?? 1) },
            planes: planes.map {
                NodeMap.Plane(
                    name: $0.name, bandwidthBitsPerSecond: $0.gigabitsPerSecond.map { $0 * 1e9 },
                    maximumPacketBytes: $0.maximumPacketBytes ?? 9000)
            })
    }
}
