package import Collectives
import Encoding
package import Tensors

/// Stands for the other ranks of a group that is not there: says where this rank's tokens go, and
/// which tokens of other ranks come to its experts.
///
/// For measurements: a rank computes, encodes and adds up as much as one of `rankCount` would, and
/// nothing travels. Rows of other ranks are random. This rank is the first.
package final class RankShare {
    /// What the gates of all ranks chose in one block.
    package struct Traffic: Sendable {
        /// A token of another rank that one of this rank's experts is chosen for.
        package struct Arrival: Sendable {
            package let token: Int
            /// The number of the expert on this rank.
            package let expert: Int

            package init(token: Int, expert: Int) {
                self.token = token
                self.expert = expert
            }
        }

        /// What this rank's tokens chose, in place of what its gate chooses; nil for the gate's.
        package let own: Routing?
        /// Tokens of other ranks with an expert here.
        package let arrivedTokens: Int
        /// Their experts here.
        package let arrivals: [Arrival]

        package init(own: Routing?, arrivedTokens: Int, arrivals: [Arrival]) {
            self.own = own
            self.arrivedTokens = arrivedTokens
            self.arrivals = arrivals
        }

        /// Rows that reach each of this rank's experts from other ranks.
        package func rows(ofExperts count: Int) -> [Int] {
            arrivals.reduce(into: [Int](repeating: 0, count: count)) { $0[$1.expert] += 1 }
        }
    }

    /// Ranks that share the routed experts.
    package let rankCount: Int
    /// Ranks of a node: inside it a token is stored once, and every rank reads it where it lies.
    package let ranksPerNode: Int
    /// By block; nil for one without experts.
    package var traffic: [Traffic?] = []
    /// Experts of a block on each rank.
    package let expertsPerRank: Int
    package let codec: RowCodec
    /// Memory of the windows, by use.
    private var memory: [Window: EncodedRows] = [:]

    /// What memory of a window holds.
    enum Window {
        /// This rank's tokens.
        case sent
        /// Copies of them on their way to other nodes.
        case staged
        /// Tokens of other ranks.
        case arrived
        /// What this rank's experts made.
        case outputs
        /// What other ranks' experts made of this rank's tokens.
        case returned

        /// Whether rows come from other ranks.
        var isForeign: Bool { self == .arrived || self == .returned }
    }

    /// - Precondition: The ranks divide the experts.
    package init(
        _ configuration: ModelConfiguration, rankCount: Int, ranksPerNode: Int, compute: Compute
    ) {
        let experts = configuration.routedExpertCount
        precondition(
            rankCount > 0 && experts.isMultiple(of: rankCount) && ranksPerNode > 0,
            "\(experts) experts on \(rankCount) ranks, \(ranksPerNode) to a node")
        self.rankCount = rankCount
        self.ranksPerNode = ranksPerNode
        expertsPerRank = experts / rankCount
        codec = compute.codec
    }

    /// Bytes of the windows that were needed so far.
    package var windowBytes: Int { memory.values.reduce(0) { $0 + $1.rows * $1.rowStride } }

    /// What this rank's tokens chose, if that was drawn.
    func routing(layer: Int) -> Routing? { traffic[layer]?.own }

    /// This rank's tokens that go to other nodes, each once for every node.
    package func copies(of routing: Routing) -> [Int] {
        (0 ..< routing.tokenCount).flatMap { token in
            let chosen = routing.expertIDs[token * routing.topK ..< (token + 1) * routing.topK]
            let nodes = Set(chosen.map { Int($0) / expertsPerRank / ranksPerNode })
            return [Int](repeating: token, count: nodes.subtracting([0]).count)
        }
    }

    func exchange(along routing: Routing, layer: Int) throws -> ShareExchange {
        guard let traffic = traffic[layer] else {
            preconditionFailure("block \(layer) has experts and no traffic")
        }
        return ShareExchange(routing, traffic, share: self)
    }

    /// Room for rows of one use; those of other ranks are random numbers of a normed row's size.
    func rows(_ window: Window, count: Int, columns: Int) -> EncodedRows {
        if let held = memory[window], held.rows >= count, held.columns == columns { return held }
        // What was too small is freed before, so that both are never there at once.
        memory[window] = nil
        let rows = EncodedRows(codec, rows: count, columns: columns)
        if window.isForeign { fill(rows) }
        memory[window] = rows
        return rows
    }

    /// Few rows are drawn, and the others are copies of them.
    private static let drawnRows = 16

    private func fill(_ rows: EncodedRows) {
        var random = SplitMix64(seed: UInt64(rows.rows))
        let values = Tensor(rows: 1, columns: rows.columns)
        for row in 0 ..< rows.rows {
            var target = rows.mutableRow(row)
            guard row < Self.drawnRows else {
                codec.encode(
                    rows.row(row % Self.drawnRows), as: codec, columns: rows.columns,
                    into: &target)
                continue
            }
            var span = values.mutableSpan
            // Uniform over a range of sqrt(12): a root mean square of 1, as after a norm.
            for column in 0 ..< span.count { span[column] = Float(random.uniform() - 0.5) * 3.46 }
            codec.encode(values.row(0), into: &target)
        }
    }
}
