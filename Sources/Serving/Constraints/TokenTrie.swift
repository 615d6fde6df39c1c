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

    /// Steps per node of the tree that a walk may take: three times what an open string takes.
    ///
    /// A pattern may keep hundreds of ways alive at every byte. Beyond this, longer tokens are left
    /// out: that forbids texts, but never admits a wrong one, and never all that could follow, as
    /// single bytes are always looked at.
    private static let stepsPerNode = 32

    /// Every token that leads from a state to a state that can be completed, within the limit.
    func choices(
        from state: GrammarAutomaton.ID, in automaton: GrammarAutomaton
    ) -> [Choice] {
        var choices: [Choice] = []
        var open: [(node: Int, state: GrammarAutomaton.ID)] = [(0, state)]
        var steps = 0
        while let (node, state) = open.popLast() {
            if node != 0, steps > nodes.count * Self.stepsPerNode { break }
            for child in nodes[node].children {
                let byte = nodes[Int(child)].byte
                guard let next = automaton.next(state, byte: byte, steps: &steps) else { continue }
                if !nodes[Int(child)].tokens.isEmpty {
                    let shortest = automaton.shortest(next)
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
