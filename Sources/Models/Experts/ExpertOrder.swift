/// The choices of a batch grouped by expert, tokens in order within a group.
struct ExpertOrder {
    /// Where each expert's rows begin; one more than experts.
    let offsets: [Int]
    /// The token of each sorted row.
    let tokens: [Int]
    /// The sorted row of each choice, `[tokens, topK]`.
    let places: [Int]

    /// Groups choices.
    ///
    /// - Parameter expertIDs: `[tokens, topK]`, each below `expertCount`.
    init(_ expertIDs: [Int32], topK: Int, expertCount: Int) {
        var bounds = [Int](repeating: 0, count: expertCount + 1)
        for expert in expertIDs { bounds[Int(expert) + 1] += 1 }
        for expert in 0 ..< expertCount { bounds[expert + 1] += bounds[expert] }
        var next = bounds
        var tokens = [Int](repeating: 0, count: expertIDs.count)
        var places = tokens
        for (choice, expert) in expertIDs.enumerated() {
            let place = next[Int(expert)]
            next[Int(expert)] += 1
            tokens[place] = choice / topK
            places[choice] = place
        }
        offsets = bounds
        self.tokens = tokens
        self.places = places
    }
}
