/// What the tensors of all experts of a block are called, after the prefix of its experts.
struct FusedExpertNames: Sendable {
    /// Gate and up, their outputs in turn: the gate's first, then up's.
    let gateUp: String
    /// Added to those.
    let gateUpBias: String
    /// The way back.
    let down: String
    /// Added to its outputs.
    let downBias: String
}

/// The routed experts of a block in tensors of all of them, as gpt-oss stores them.
///
/// Shapes are those of plain numbers, which are transposed; MXFP4 has `[experts, outputs, inputs]`.
struct FusedExpertTensors {
    /// `[experts, hidden, 2 * intermediate]`.
    let gateUp: NetworkTensor
    /// `[experts, 2 * intermediate]`.
    let gateUpBias: NetworkTensor
    /// `[experts, intermediate, hidden]`.
    let down: NetworkTensor
    /// `[experts, hidden]`.
    let downBias: NetworkTensor

    var all: [NetworkTensor] { [gateUp, gateUpBias, down, downBias] }

    /// Matrices that share the outputs of `gateUp`.
    static let interleaved = 2

    init(_ names: FusedExpertNames, prefix: String, _ shape: ModelConfiguration) {
        func tensor(
            _ name: String, _ extents: [Int], _ role: NetworkTensor.Role
        ) -> NetworkTensor {
            NetworkTensor(
                name: prefix + name, shape: [shape.routedExpertCount] + extents, role: role)
        }
        let (hidden, width) = (shape.hiddenSize, shape.expertIntermediateSize)
        let both = Self.interleaved * width
        gateUp = tensor(names.gateUp, [hidden, both], .fused)
        gateUpBias = tensor(names.gateUpBias, [both], .offset)
        down = tensor(names.down, [width, hidden], .fused)
        downBias = tensor(names.downBias, [hidden], .offset)
    }
}
