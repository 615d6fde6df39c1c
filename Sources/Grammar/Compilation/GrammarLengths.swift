/// The lengths of the shortest sentences of a builder's rules and alternatives; `Grammar.never` for
/// what has none.
///
/// Source: Knuth, A Generalization of Dijkstra's Algorithm, 1977: rules are settled from the
/// shortest on, so the work is that of sorting them.
struct GrammarLengths {
    private(set) var ofRule: [Int]
    private(set) var ofAlternative: [Int]

    init(_ builder: GrammarBuilder) throws {
        let alternatives = builder.alternativeCount
        ofRule = Array(repeating: Grammar.never, count: builder.ruleCount.count)
        ofAlternative = Array(repeating: Grammar.never, count: alternatives)
        try builder.budget.spend(builder.codes.count * 2, bytes: builder.codes.count * 24)
        // Per alternative: rules that are not settled yet, and the length of the rest.
        var missing = [Int32](repeating: 0, count: alternatives)
        var sums = [Int](repeating: 0, count: alternatives)
        var owner = [Int32](repeating: 0, count: alternatives)
        var useCounts = [Int32](repeating: 0, count: ofRule.count + 1)
        for rule in builder.ruleCount {
            for alternative in builder.alternatives(of: rule) {
                owner[alternative] = Int32(rule)
                for code in builder.codes(of: alternative) where code != -1 {
                    if code >= 0 {
                        missing[alternative] += 1
                        useCounts[Int(code) + 1] += 1
                    } else {
                        sums[alternative] += 1
                    }
                }
            }
        }
        for rule in ofRule.indices { useCounts[rule + 1] += useCounts[rule] }
        var uses = [Int32](repeating: 0, count: Int(useCounts.last ?? 0))
        var next = useCounts
        for alternative in 0 ..< alternatives {
            for code in builder.codes(of: alternative) where code >= 0 {
                uses[Int(next[Int(code)])] = Int32(alternative)
                next[Int(code)] += 1
            }
        }
        var queue = ShortestFirst()
        for alternative in 0 ..< alternatives where missing[alternative] == 0 {
            ofAlternative[alternative] = min(Grammar.never, sums[alternative])
            queue.insert(ofAlternative[alternative], Int(owner[alternative]))
        }
        while let (length, rule) = queue.removeFirst() {
            guard ofRule[rule] == Grammar.never, length < Grammar.never else { continue }
            ofRule[rule] = length
            for use in uses[Int(useCounts[rule]) ..< Int(useCounts[rule + 1])] {
                let alternative = Int(use)
                sums[alternative] = min(Grammar.never, sums[alternative] + length)
                missing[alternative] -= 1
                if missing[alternative] == 0 {
                    ofAlternative[alternative] = sums[alternative]
                    queue.insert(sums[alternative], Int(owner[alternative]))
                }
            }
        }
    }
}

/// A binary heap of rules by their lengths.
private struct ShortestFirst {
    private var heap: [(length: Int, rule: Int)] = []

    mutating func insert(_ length: Int, _ rule: Int) {
        heap.append((length, rule))
        var place = heap.count - 1
        while place > 0, heap[place].length < heap[(place - 1) / 2].length {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func removeFirst() -> (length: Int, rule: Int)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2]
            where child < heap.count && heap[child].length < heap[least].length { least = child }
            guard least != place else { return first }
            heap.swapAt(place, least)
            place = least
        }
    }
}
