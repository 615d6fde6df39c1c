import Encoding
import Foundation

/// A schema with its own root, in which references lead.
final class SchemaDocument {
    /// A value, and its members by their names once something asked for one.
    private final class Node {
        let value: JSONValue
        private var members: [String: Node]?

        init(_ value: JSONValue) { self.value = value }

        func member(_ key: String, _ budget: CompilationBudget) throws -> Node? {
            if let members { return members[key] }
            var found: [String: Node] = [:]
            for (key, value) in value.object ?? [] { found[key] = Node(value) }
            for (index, value) in (value.array ?? []).enumerated() {
                found[String(index)] = Node(value)
            }
            try budget.spend(found.count * 8, bytes: found.count * 128)
            members = found
            return found[key]
        }
    }

    private let root: Node
    private let id: String?

    /// The whole schema.
    var value: JSONValue { root.value }

    init(_ value: JSONValue) {
        root = Node(value)
        id = value["$id"]?.string
    }

    /// What a reference leads to, under a name that all references to the same place share.
    func target(
        of reference: JSONValue, at path: SchemaPath, _ budget: CompilationBudget
    ) throws -> (name: String, schema: JSONValue) {
        guard var name = reference.string else {
            throw SchemaCompiler.Fault(path, "$ref must be a string, not \(reference.kind)")
        }
        try budget.spend(name.utf8.count)
        if let id, name.hasPrefix(id) { name = String(name.dropFirst(id.count)) }
        guard name.isEmpty || name.hasPrefix("#") else {
            throw SchemaCompiler.Fault(
                path, "only references that begin with # are followed, not \(name.printable())")
        }
        let pointer = name.dropFirst().removingPercentEncoding ?? String(name.dropFirst())
        var node = root
        for part in pointer.split(separator: "/") {
            let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
            guard let next = try node.member(key, budget) else {
                throw SchemaCompiler.Fault(path, "\(name.printable()) leads nowhere")
            }
            node = next
        }
        return ("#" + pointer, node.value)
    }
}

/// A place in a schema: its text is made only for an error.
indirect enum SchemaPath: CustomStringConvertible, Sendable {
    case root(String)
    case member(SchemaPath, String)

    static func / (path: SchemaPath, name: String) -> SchemaPath { .member(path, name) }

    var description: String {
        var names: [String] = []
        var place = self
        while true {
            switch place {
            case .root(let name):
                return ([name] + names.reversed()).joined(separator: "/").printable(limit: 400)
            case .member(let outer, let name):
                names.append(name)
                place = outer
            }
        }
    }
}
