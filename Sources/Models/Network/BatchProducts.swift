import Collectives
import Tensors
import Topology

/// How the matrix products of a batch are computed that every row needs: on this rank alone, or on
/// all ranks of its node, each some outputs.
///
/// On a rank that helps another the same calls are made with tensors of no rows; they compute this
/// rank's part of the other's products.
struct BatchProducts {
    let compute: Compute
    let pool: ThreadPool
    /// The ranks of the node and which of them has the rows; nil where each computes alone.
    private let node: (group: TensorParallelGroup, leader: Rank)?

    init(_ node: (group: TensorParallelGroup, leader: Rank)?, compute: Compute, pool: ThreadPool) {
        self.node = node
        self.compute = compute
        self.pool = pool
    }

    /// Whether other ranks take part, so that a rank without rows has work.
    var areShared: Bool { node != nil }

    /// y = x wᵀ for weights that read the same rows.
    ///
    /// - Parameters:
    ///   - x: `[rows, inputs]`.
    ///   - parts: Each weight, and its `[rows, outputs]`.
    ///   - layer: Named in errors.
    func multiply(_ x: Tensor, _ parts: [(weight: Weight, y: Tensor)], layer: Int) throws {
        guard let first = parts.first else { return }
        try run(
            x, width: first.weight.inputs, into: parts.map(\.y),
            widths: parts.map(\.weight.outputs), granule: Weight.panelOutputs, layer: layer
        ) { x, targets in
            linear(
                targets.map {
                    LinearPart(
                        x, column: 0, parts[$0.piece.result].weight, outputs: $0.piece.columns,
                        into: $0.tensor, column: $0.column)
                }, compute: compute, pool: pool)
        }
    }

    /// Products of the heads of an attention layer.
    ///
    /// - Parameters:
    ///   - x: `[rows, width]`, which every rank gets as a whole.
    ///   - heads: How many heads, and how many must stay together.
    ///   - y: `[rows, heads * size]`.
    ///   - body: Computes some heads of the rows that it is given, from a column of a tensor on.
    func perHead(
        _ x: Tensor, width: Int, heads: (count: Int, together: Int), size: Int, into y: Tensor,
        layer: Int,
        _ body: (_ x: Tensor, _ heads: Range<Int>, _ y: Tensor, _ column: Int) -> Void
    ) throws {
        try run(
            x, width: width, into: [y], widths: [heads.count * size],
            granule: heads.together * size, layer: layer
        ) { x, targets in
            for target in targets {
                let columns = target.piece.columns
                let part = columns.lowerBound / size ..< columns.upperBound / size
                body(x, part, target.tensor, target.column)
            }
        }
    }

    /// y = down(silu(gate(x)) * up(x)), a network that every row uses.
    ///
    /// - Parameters:
    ///   - x: `[rows, hidden]`.
    ///   - y: `[rows, hidden]`.
    func useWholly(
        _ network: ExpertWeights, _ x: Tensor, into y: Tensor, layer: Int
    ) throws {
        guard areShared, network.canBeCut else {
            if x.rows > 0 { expertLayer(x, network, into: y, compute: compute, pool: pool) }
            return
        }
        let hidden = Tensor(unfilledRows: x.rows, columns: network.gate.outputs)
        try run(
            x, width: network.gate.inputs, into: [hidden], widths: [network.gate.outputs],
            granule: Weight.panelOutputs, layer: layer
        ) { x, targets in
            for target in targets {
                hiddenValues(
                    target.piece.columns, of: network, x, into: target.tensor,
                    column: target.column, compute: compute, pool: pool)
            }
        }
        try multiply(hidden, [(network.down, y)], layer: layer)
    }

    private func run(
        _ x: Tensor, width: Int, into results: [Tensor], widths: [Int], granule: Int, layer: Int,
        _ body: (Tensor, [OutputTarget]) -> Void
    ) throws {
        let cut = OutputCut(widths: widths, granule: granule, ranks: node?.group.count ?? 1)
        guard let node else {
            body(x, cut.targets(in: results))
            return
        }
        try node.group.run(
            x, width: width, into: results, cut, leader: node.leader, layer: layer, compute: body)
    }
}

extension ModelConfiguration {
    /// Values of the widest row, and of the widest results, that the ranks of a node share.
    var sharedWidths: (inputs: Int, outputs: Int) {
        let networks = (0 ..< layerCount).map {
            hasExperts(layer: $0)
                ? sharedExpertCount * expertIntermediateSize : intermediateSize
        }
        let hidden = max(hiddenSize, networks.max() ?? 0)
        let attention = architecture.attention.sharedWidths(of: self)
        return (max(hidden, attention.inputs), max(hidden, attention.outputs))
    }
}
