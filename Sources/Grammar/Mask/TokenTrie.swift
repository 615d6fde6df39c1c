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
    /// Per node, whether a comma leads to it or stands below it.
    private var hasComma: [Bool] = []
    /// Per node, whether a `[` leads to it or stands below it, with a comma below.
    private var hasArray: [Bool] = []
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
        hasComma = Array(repeating: false, count: bytes.count)
        hasArray = hasComma
        for node in bytes.indices.reversed() {
            let below = children(of: node).contains { hasComma[$0] }
            hasComma[node] = below || bytes[node] == UInt8(ascii: ",")
            hasArray[node] =
                below && bytes[node] == UInt8(ascii: "[")
                || children(of: node).contains { hasArray[$0] }
        }
    }

    /// Where the children of a node are.
    func children(of node: Int) -> Range<Int> {
        Int(firstChild[node]) ..< Int(firstChild[node + 1])
    }

    /// The byte that leads to a node.
    func byte(of node: Int) -> UInt8 { bytes[node] }

    /// The tokens that end at a node.
    func tokens(at node: Int) -> ArraySlice<Int32> {
        tokens[Int(firstToken[node]) ..< Int(firstToken[node + 1])]
    }

    /// Whether tokens through a node have a comma there or later.
    func hasComma(_ node: Int) -> Bool { hasComma[node] }

    /// Whether tokens through a node have a `[` there or later, and a comma after it.
    func hasArray(_ node: Int) -> Bool { hasArray[node] }

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
