import Encoding
public import Tensors

/// One expert's matrix in a tensor that holds those of all experts of a layer, as gpt-oss stores
/// them.
///
/// Plain numbers: F32, F16 or BF16 `[experts, inputs, outputs]`. MXFP4: `_blocks` U8
/// `[experts, outputs, inputs/32, 16]`, e2m1, the first input in the lower nibble, and `_scales` U8
/// or F8_E8M0 `[experts, outputs, inputs/32]`, powers of two.
public struct FusedMatrix: Sendable {
    /// What follows the name of the tensor in the names of its parts.
    private enum Suffix {
        static let codes = "_blocks"
        static let scales = "_scales"
    }

    /// The sizes that the tensor ought to have, and which matrix of it is meant.
    public struct Place: Sendable {
        let expert: Int
        let expertCount: Int
        let outputs: Int
        let inputs: Int
        let interleaving: Interleaving

        /// - Parameters:
        ///   - outputs: Of one matrix.
        ///   - interleaving: Which of the matrices whose outputs lie in turn.
        public init(
            expert: Int, of expertCount: Int, outputs: Int, inputs: Int,
            interleaving: Interleaving = .none
        ) {
            self.expert = expert
            self.expertCount = expertCount
            self.outputs = outputs
            self.inputs = inputs
            self.interleaving = interleaving
        }

        /// Outputs of all interleaved matrices.
        var allOutputs: Int { outputs * interleaving.count }
    }

    let place: Place
    /// The numbers.
    let numbers: Checkpoint.Located
    /// Powers of two; nil for plain numbers.
    let scales: Checkpoint.Located?
    /// float32, float16, bfloat16 or mxfp4.
    let format: NumberFormat

    /// Whether a folder has a tensor of this name in MXFP4.
    public static func isFourBit(_ name: String, in checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors[name + Suffix.codes] != nil
    }

    /// The names that the parts of a tensor in MXFP4 have.
    public static func partNames(of name: String) -> [String] {
        [name + Suffix.codes, name + Suffix.scales]
    }

    /// Finds the tensor and checks its type and shape.
    ///
    /// - Throws: `CheckpointError` that names what is missing or wrong.
    init(_ name: String, _ place: Place, in checkpoint: Checkpoint) throws {
        self.place = place
        func fault(_ located: Checkpoint.Located, _ fact: String) -> CheckpointError {
            .tensor(
                file: checkpoint.file(of: located), name: located.entry.name.printable(),
                fact: fact)
        }
        func check(_ located: Checkpoint.Located, _ shape: [Int]) throws {
            guard located.entry.shape == shape else {
                throw fault(
                    located, "shape \(located.entry.shape); config.json makes it \(shape)")
            }
        }
        let parts = Self.partNames(of: name)
        guard let codes = checkpoint.tensors[parts[0]] else {
            (numbers, scales) = (try checkpoint.locate(name), nil)
            guard let format = WeightTypes.vector(numbers.entry.type) else {
                throw fault(
                    numbers,
                    "dtype \(numbers.entry.type.rawValue) is none of F32, F16, BF16; in 4 bits "
                        + "the experts of a layer are \(parts[0].printable())")
            }
            self.format = format
            try check(numbers, [place.expertCount, place.inputs, place.allOutputs])
            return
        }
        if let plain = checkpoint.tensors[name] {
            throw fault(plain, "is stored twice, also as \(parts[0].printable()); taken is one")
        }
        let factors = try checkpoint.locate(parts[1])
        (numbers, scales, format) = (codes, factors, .mxfp4)
        let group = FourBitMatrix.group
        guard place.inputs.isMultiple(of: group) else {
            throw fault(
                codes, "\(place.inputs) inputs are no multiple of \(group), which share a scale")
        }
        guard codes.entry.type == .uint8 else {
            throw fault(codes, "dtype \(codes.entry.type.rawValue); blocks of MXFP4 are U8")
        }
        guard [.uint8, .float8e8m0].contains(factors.entry.type) else {
            throw fault(
                factors,
                "dtype \(factors.entry.type.rawValue); scales of MXFP4 are U8 or F8_E8M0")
        }
        let rows = [place.expertCount, place.allOutputs, place.inputs / group]
        try check(codes, rows + [group / 2])
        try check(factors, rows)
    }

    /// The expert's part of a tensor: of all interleaved matrices.
    func bytes(of tensor: Checkpoint.Located) -> Range<Int> {
        let size = tensor.entry.bytes.count / place.expertCount
        let first = tensor.entry.bytes.lowerBound + place.expert * size
        return first ..< first + size
    }

    /// What is wrong with a scale that packing refused.
    func scaleFault(output: Int, group: Int, in checkpoint: Checkpoint) -> CheckpointError {
        let row = output * place.interleaving.count + place.interleaving.index
        let located = scales ?? numbers
        return .tensor(
            file: checkpoint.file(of: located), name: located.entry.name.printable(),
            fact: "scale [\(place.expert), \(row), \(group)] is 255, which is no number; a scale "
                + "is a power of two")
    }
}
