/// What the tensors of grouped-query attention are called, inside a block.
struct GroupedAttentionNames: Sendable {
    /// The module from the stream to the query heads, without `.weight` or `.bias`.
    let query: String
    /// From the stream to the keys.
    let key: String
    /// From the stream to the values.
    let value: String
    /// From the heads' sums to the stream.
    let output: String
    /// On queries.
    let queryNorm: String
    /// On keys.
    let keyNorm: String
    /// Whether the output has a bias where the others have one.
    let hasOutputBias: Bool
    /// Of each head, a score without an entry; nil for none.
    var sinks: String?

    /// The names of the matrices.
    var projections: [String] { [query, key, value, output].map { $0 + ".weight" } }
}

/// The tensors of one block's grouped-query attention.
struct GroupedAttentionTensors {
    /// A matrix, and what is added to its outputs; nil for nothing.
    struct Projection {
        let matrix: NetworkTensor
        let bias: NetworkTensor?

        var all: [NetworkTensor] { [matrix] + (bias.map { [$0] } ?? []) }
    }

    /// `[heads * size, hidden]`.
    let query: Projection
    /// `[keyValueHeads * size, hidden]`.
    let key: Projection
    /// `[keyValueHeads * size, hidden]`.
    let value: Projection
    /// `[hidden, heads * size]`.
    let output: Projection
    /// `[size]`, or the width of all heads; nil without norms.
    let norms: (query: NetworkTensor, key: NetworkTensor)?
    /// `[heads]`; nil for none.
    let sinks: NetworkTensor?

    init(_ names: GroupedAttentionNames, _ shape: ModelConfiguration, prefix: String) {
        func projection(
            _ name: String, _ rows: Int, _ columns: Int, hasBias: Bool
        ) -> Projection {
            Projection(
                matrix: NetworkTensor(
                    name: prefix + name + ".weight", shape: [rows, columns], role: .projection),
                bias: hasBias
                    ? NetworkTensor(name: prefix + name + ".bias", shape: [rows], role: .offset)
                    : nil)
        }
        let (hidden, size) = (shape.hiddenSize, shape.queryHeadSize)
        let queryWidth = shape.headCount * size
        let keyWidth = (shape.keyValueHeadCount ?? shape.headCount) * size
        let hasBias = shape.hasAttentionBias
        query = projection(names.query, queryWidth, hidden, hasBias: hasBias)
        key = projection(names.key, keyWidth, hidden, hasBias: hasBias)
        value = projection(names.value, keyWidth, hidden, hasBias: hasBias)
        output = projection(
            names.output, hidden, queryWidth, hasBias: hasBias && names.hasOutputBias)
        norms = shape.queryKeyNorm.map { norm in
            func tensor(_ name: String, _ width: Int) -> NetworkTensor {
                NetworkTensor(
                    name: prefix + name, shape: [norm == .head ? size : width], role: .norm)
            }
            return (tensor(names.queryNorm, queryWidth), tensor(names.keyNorm, keyWidth))
        }
        sinks = names.sinks.map {
            NetworkTensor(name: prefix + $0, shape: [shape.headCount], role: .offset)
        }
    }

    var all: [NetworkTensor] {
        [query, key, value, output].flatMap(\.all) + (norms.map { [$0.query, $0.key] } ?? [])
            + (sinks.map { [$0] } ?? [])
    }
}
