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

    /// A token that a state allows, and the bytes that then complete the text.
    struct Choice: Sendable {
        let token: Int32
        let shortest: Int32
    }

    /// Every token that leads from `state` to a state that can be completed.
    func choices(from state: GrammarState, in grammar: Grammar) -> [Choice] {
        var choices: [Choice] = []
        var open: [(node: Int, state: GrammarState)] = [(0, state)]
        while let (node, state) = open.popLast() {
            for child in nodes[node].children {
                let next = state.advanced(by: nodes[Int(child)].byte, in: grammar)
                if next.isDead { continue }
                if !nodes[Int(child)].tokens.isEmpty {
                    let shortest = Int32(clamping: next.shortest(in: grammar))
                    choices += nodes[Int(child)].tokens.map {
                        Choice(token: $0, shortest: shortest)
                    }
                }
                if !nodes[Int(child)].children.isEmpty { open.append((Int(child), next)) }
            }
        }
        return choices
    }
}
