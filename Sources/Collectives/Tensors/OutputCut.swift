public import Tensors

/// How the ranks of a node cut the outputs of some products among them.
///
/// The results lie side by side, and every rank has a run of their columns, so that each reads
/// about as much of the weights.
public struct OutputCut: Sendable, Equatable {
    /// Some columns of one result.
    public struct Piece: Sendable, Equatable {
        /// Which result.
        public let result: Int
        /// Its columns.
        public let columns: Range<Int>
    }

    /// What each rank computes, in the order of the node's ranks.
    let pieces: [[Piece]]

    /// - Parameters:
    ///   - widths: Columns of each result.
    ///   - granule: No cut is made but at multiples of this many columns of a result.
    ///   - ranks: How many ranks share them.
    public init(widths: [Int], granule: Int, ranks: Int) {
        precondition(granule > 0 && ranks > 0, "\(ranks) ranks, cuts at \(granule)")
        let counts = widths.map { ($0 + granule - 1) / granule }
        let all = counts.reduce(0, +)
        pieces = (0 ..< ranks).map { rank in
            let own = all * rank / ranks ..< all * (rank + 1) / ranks
            var before = 0
            var pieces: [Piece] = []
            for (result, count) in counts.enumerated() {
                let part = own.clamped(to: before ..< before + count)
                if !part.isEmpty {
                    let end = min(widths[result], (part.upperBound - before) * granule)
                    pieces.append(
                        Piece(
                            result: result, columns: (part.lowerBound - before) * granule ..< end))
                }
                before += count
            }
            return pieces
        }
    }

    /// Columns that the rank at a place computes.
    func width(of place: Int) -> Int { pieces[place].reduce(0) { $0 + $1.columns.count } }

    /// Where the rank at a place writes what it computes of whole results.
    public func targets(in results: [Tensor], of place: Int = 0) -> [OutputTarget] {
        pieces[place].map {
            OutputTarget(piece: $0, tensor: results[$0.result], column: $0.columns.lowerBound)
        }
    }
}

/// Where some outputs of a product are to be written.
public struct OutputTarget {
    /// Which outputs.
    public let piece: OutputCut.Piece
    /// `[rows, columns]`.
    public let tensor: Tensor
    /// Where in its rows they begin.
    public let column: Int
}
