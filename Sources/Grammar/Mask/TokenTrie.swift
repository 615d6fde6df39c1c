/// The vocabulary as a tree of bytes, so that one walk finds which tokens a grammar state allows.
///
/// Nodes lie in the order in which a walk comes by: by depth, and children side by side.
struct TokenTrie: Sendable {
    /// The byte that leads to each node; the first is the root.
    private var bytes: [UInt8] = [0]
    /// Where each node's children begin; they end where those of the next begin.
    private var firstChild: [Int32] = []
    /// Where each node's tokens begin in `tokens`.
    private var firstToken: [Int32] = []
    private var tokens: [Int32] = []
    let tokenCount: Int

    /// - Parameter vocabulary: The bytes of each token; empty for special and unused ids, which a
    ///   constrained text never contains.
    init(_ vocabulary: [[UInt8]]) {
        tokenCount = vocabulary.count
        let sorted = vocabulary.indices.filter { !vocabulary[$0].isEmpty }
            .sorted { vocabulary[$0].lexicographicallyPrecedes(vocabulary[$1]) }
        // Each node's part of the sorted tokens, those first that end at the node.
        var parts = [sorted.indices]
        var depth = 0
        var ofDepth = 0 ..< 1
        while !ofDepth.isEmpty {
            for node in ofDepth {
                firstChild.append(Int32(bytes.count))
                firstToken.append(Int32(tokens.count))
                var place = parts[node].lowerBound
                while place < parts[node].upperBound, vocabulary[sorted[place]].count == depth {
                    tokens.append(Int32(sorted[place]))
                    place += 1
                }
                while place < parts[node].upperBound {
                    let start = place
                    let byte = vocabulary[sorted[place]][depth]
                    while place < parts[node].upperBound, vocabulary[sorted[place]][depth] == byte {
                        place += 1
                    }
                    bytes.append(byte)
                    parts.append(start ..< place)
                }
            }
            depth += 1
            ofDepth = ofDepth.upperBound ..< bytes.count
        }
        firstChild.append(Int32(bytes.count))
        firstToken.append(Int32(tokens.count))
    }

    /// A token that a state allows, and the bytes that then complete the text.
    struct Choice: Sendable {
        let token: Int32
        let shortest: Int32
    }

    /// Every token that leads from a state to a state that can be completed, within the walk's
    /// limits: shorter tokens come first, and beyond the limits longer ones are left out.
    ///
    /// - Returns: Nil if the limits did not allow every single byte to be tried.
    func choices(
        from state: GrammarAutomaton.ID, in automaton: GrammarAutomaton,
        _ walk: inout GrammarAutomaton.Walk
    ) -> [Choice]? {
        var choices: [Choice] = []
        var open: [(node: Int, state: GrammarAutomaton.ID)] = [(0, state)]
        var place = 0
        while place < open.count {
            let (node, state) = open[place]
            place += 1
            for child in Int(firstChild[node]) ..< Int(firstChild[node + 1]) {
                if walk.isOver { return node == 0 ? nil : choices }
                guard let next = automaton.next(state, byte: bytes[child], &walk) else { continue }
                for index in Int(firstToken[child]) ..< Int(firstToken[child + 1]) {
                    choices.append(
                        Choice(token: tokens[index], shortest: automaton.shortest(next)))
                }
                if firstChild[child] < firstChild[child + 1] { open.append((child, next)) }
            }
        }
        return choices
    }
}
