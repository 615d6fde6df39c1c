import Tensors

/// The all-to-all of a single rank: every expert is here, so tokens are only sorted.
///
/// It rounds exactly as travel would, so that one rank and many give the same bits: inputs by the
/// matrix product itself, outputs by the codec that carries them home.
struct LocalExperts {
    let topK: Int
    let expertCount: Int
    /// How outputs would travel home.
    let codec: RowCodec
    let pool: ThreadPool

    /// Tokens sorted by expert.
    struct Sorted {
        /// Rows of each expert, `experts + 1` bounds.
        let offsets: [Int]
        /// The token of each sorted row.
        let tokens: [Int]
        /// The sorted row of each choice, `[tokens, topK]`.
        let places: [Int]
    }

    /// Groups choices by expert, tokens in order within a group.
    func sort(_ chosen: [Int32]) -> Sorted {
        var offsets = [Int](repeating: 0, count: expertCount + 1)
        for expert in chosen { offsets[Int(expert) + 1] += 1 }
        for expert in 0 ..< expertCount { offsets[expert + 1] += offsets[expert] }
        var next = offsets
        var tokens = [Int](repeating: 0, count: chosen.count)
        var places = [Int](repeating: 0, count: chosen.count)
        for (choice, expert) in chosen.enumerated() {
            let place = next[Int(expert)]
            next[Int(expert)] += 1
            tokens[place] = choice / topK
            places[choice] = place
        }
        return Sorted(offsets: offsets, tokens: tokens, places: places)
    }

    /// Adds every token's weighted expert outputs to its row, best choice first.
    func combine(
        _ outputs: Tensor, _ sorted: Sorted, weights: Tensor, addingInto rows: Tensor
    ) {
        let rowBytes = codec.byteCount(columns: outputs.columns)
        pool.split(rows.rows) { range in
            let parcel = Tensor(rows: 1, columns: (rowBytes + 3) / 4)
            for token in range {
                var target = rows.mutableRow(token)
                for choice in 0 ..< topK {
                    let source = sorted.places[token * topK + choice]
                    let weight = weights[token, choice]
                    if codec == .float32 {
                        codec.accumulate(
                            outputs.bytes, at: source * rowBytes, weight: weight, into: &target)
                    } else {
                        var bytes = parcel.mutableBytes
                        codec.encode(outputs.row(source), into: &bytes)
                        codec.accumulate(parcel.bytes, weight: weight, into: &target)
                    }
                }
            }
        }
    }
}
