/// The vocabulary as a tree of bytes, so that one walk tells which tokens a grammar state allows.
struct TokenTrie: Sendable {
    private struct Node {
        var byte: UInt8 = 0
        var tokens: [Int32] = []
        var children: [Int32] = []
    }

    private var nodes: [Node] = [Node()]
    let tokenCount: Int

    /// - Parameter tokens: The bytes of each token; empty for special and unused ids, which a
    ///   constrained text never contains.
    init(_ tokens: [[UInt8]]) {
        tokenCount = tokens.count
        for (token, bytes) in tokens.enumerated() where !bytes.isEmpty {
            var node = 0
            for byte in bytes {
                if let child = nodes[node].children.first(where: { nodes[Int($0)].byte == byte }) {
                    node = Int(child)
                } else {
                    nodes.append(Node(byte: byte))
                    nodes[node].children.append(Int32(nodes.count - 1))
                    node = nodes.count - 1
                }
            }
            nodes[node].tokens.append(Int32(token))
        }
    }

    /// Calls `allow` with each token that leads from `state` to a state that can still be completed
    /// in `remaining` bytes.
    func visit(
        from state: GrammarState, in grammar: Grammar, completableIn remaining: Int,
        allow: (Int) -> Void
    ) {
        var open: [(node: Int, state: GrammarState)] = [(0, state)]
        while let (node, state) = open.popLast() {
            for child in nodes[node].children {
                let next = state.advanced(by: nodes[Int(child)].byte, in: grammar)
                if next.isDead { continue }
                if !nodes[Int(child)].tokens.isEmpty, next.shortest(in: grammar) <= remaining {
                    for token in nodes[Int(child)].tokens { allow(Int(token)) }
                }
                if !nodes[Int(child)].children.isEmpty { open.append((Int(child), next)) }
            }
        }
    }
}
