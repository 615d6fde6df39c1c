public import Tensors

/// In which numbers the linear layers of a training run compute.
public enum TrainingPrecision: String, CaseIterable, Codable, Sendable {
    /// Float32 throughout: the reference.
    case float32
    /// Inputs of products rounded to bf16, sums in Float32.
    case bfloat16
    /// Inputs of products rounded to e4m3, activations with a scale per 1x128, weights per 128x128;
    /// sums in Float32. Embedding, head, MTP projection, gate, norms and attention stay as in bf16.
    case float8
}

/// What every layer of a rank shares while it trains.
public final class TrainingContext {
    /// The shape of the model.
    public let configuration: ModelConfiguration
    /// Tokens of a sequence; a micro-batch is whole sequences.
    public private(set) var sequenceLength: Int
    /// Threads of this rank.
    public let pool: ThreadPool
    /// Numbers of the linear layers.
    public let precision: TrainingPrecision
    /// Weight of the sequence-wise balance loss; 0 for none.
    public let balanceWeight: Float
    /// Whether gates ignore their scores and give every expert as many tokens, as DeepSeek's
    /// published profiles do: for measurements, where no imbalance shall hide what is measured.
    public var routesEvenly = false
    /// Which of the step's micro-batches the backward under way is of, where parameters keep
    /// gradients in parts.
    public var gradientSlice = 0
    /// Weight gradients that wait.
    public let gradients = GradientQueue()
    private(set) var rotary: RotaryTables

    /// Prepares tables for sequences of this length.
    public init(
        configuration: ModelConfiguration, sequenceLength: Int, pool: ThreadPool,
        precision: TrainingPrecision = .float32, balanceWeight: Float = 0
    ) {
        self.configuration = configuration
        self.sequenceLength = sequenceLength
        self.pool = pool
        self.precision = precision
        self.balanceWeight = balanceWeight
        rotary = RotaryTables(
            configuration, positions: sequenceLength, filled: sequenceLength)
    }

    /// Changes the length, as between training and validation; not while a micro-batch is under
    /// way.
    public func use(sequenceLength length: Int) {
        guard length != sequenceLength else { return }
        sequenceLength = length
        rotary = RotaryTables(configuration, positions: length, filled: length)
    }

    func positions(rows: Int) -> [Int32] { (0 ..< rows).map { Int32($0 % sequenceLength) } }

    private var compute: Compute { precision == .float32 ? .float32 : .bfloat16 }

    /// y = x · wᵀ.
    func linear(_ x: Tensor, _ weight: Parameter, isExact: Bool = false) -> Tensor {
        linear(x, offsets: [0, x.rows], [[weight]], isExact: isExact)[0]
    }

    /// One y per list of weights: rows `offsets[i] ..< offsets[i + 1]` times the list's weight i.
    func linear(
        _ x: Tensor, offsets: [Int], _ lists: [[Parameter]], isExact: Bool = false
    ) -> [Tensor] {
        let results = lists.map { Tensor(unfilledRows: x.rows, columns: $0[0].value.rows) }
        guard x.rows > 0 else { return results }
        let isWide = isExact || lists[0][0].staysWide
        let input = rounded(x, isWide)
        var parts: [ProductPart] = []
        for (index, rows) in ranges(offsets) {
            // The same input in a row: it is prepared once.
            let part = input.view(rows: rows)
            for (weights, y) in zip(lists, results) {
                let weight = roundedWeight(weights[index].value, isWide)
                parts.append(ProductPart(part, weight, into: y.view(rows: rows)))
            }
        }
        matmul(.timesTransposed, parts, compute: isExact ? .float32 : compute, pool: pool)
        return results
    }

    /// The groups that have rows.
    private func ranges(_ offsets: [Int]) -> [(Int, Range<Int>)] {
        (0 ..< offsets.count - 1).compactMap { index in
            let range = offsets[index] ..< offsets[index + 1]
            return range.isEmpty ? nil : (index, range)
        }
    }

    /// dx = or += dy · w now, dw += dyᵀ · x when the queue runs.
    func linearBackward(
        _ x: Tensor, _ weight: Parameter, dy: Tensor, into dx: Tensor? = nil,
        accumulate: Bool = false, isExact: Bool = false
    ) {
        guard dy.rows > 0 else { return }
        if let dx {
            inputGradient(
                dy, offsets: [0, dy.rows], [weight], into: dx, accumulate: accumulate,
                isExact: isExact)
        }
        weightGradients(offsets: [0, dy.rows], [(x, [weight], dy)], isExact: isExact)
    }

    /// dx = or += dy · w, the rows `offsets[i] ..< offsets[i + 1]` by weight i.
    func inputGradient(
        _ dy: Tensor, offsets: [Int], _ weights: [Parameter], into dx: Tensor,
        accumulate: Bool = false, isExact: Bool = false
    ) {
        let isWide = isExact || weights[0].staysWide
        let input = rounded(dy, isWide)
        let parts = ranges(offsets).map { index, rows in
            ProductPart(
                input.view(rows: rows), roundedWeight(weights[index].value, isWide),
                into: dx.view(rows: rows))
        }
        matmul(
            .times, parts, accumulate: accumulate, compute: isExact ? .float32 : compute,
            pool: pool)
    }

    /// dw += dyᵀ · x when the queue runs, for every weight over its own rows.
    func weightGradients(
        offsets: [Int], _ products: [(x: Tensor, weights: [Parameter], dy: Tensor)],
        isExact: Bool = false
    ) {
        let compute: Compute = isExact ? .float32 : compute
        gradients.add { [self] in
            var parts: [ProductPart] = []
            for (x, weights, dy) in products {
                let isWide = isExact || weights[0].staysWide
                let (input, output) = (rounded(x, isWide), rounded(dy, isWide))
                for (index, rows) in ranges(offsets) {
                    parts.append(
                        ProductPart(
                            output.view(rows: rows), input.view(rows: rows),
                            into: gradient(of: weights[index])))
                }
            }
            matmul(.transposedTimes, parts, accumulate: true, compute: compute, pool: pool)
        }
    }

    /// Where the backward under way adds a weight's gradient.
    func gradient(of weight: Parameter, use: Int = 0) -> Tensor {
        weight.gradient(of: GradientPart(use: use, slice: gradientSlice))
    }

    private func rounded(_ x: Tensor, _ isWide: Bool) -> Tensor {
        precision == .float8 && !isWide ? x.roundedToFloat8Rows(pool: pool) : x
    }

    private func roundedWeight(_ weight: Tensor, _ isWide: Bool) -> Tensor {
        precision == .float8 && !isWide ? weight.roundedToFloat8Blocks(pool: pool) : weight
    }

    /// y = norm(x) over a range of columns, as wide as the weight.
    func norm(
        _ x: Tensor, _ weight: Parameter, columns: Range<Int>? = nil, epsilon: Float? = nil
    ) -> Tensor {
        let columns = columns ?? 0 ..< x.columns
        let y = Tensor(unfilledRows: x.rows, columns: columns.count)
        var part = x
        if columns.count != x.columns {
            part = Tensor(unfilledRows: x.rows, columns: columns.count)
            copyColumns(columns, of: x, into: part, pool: pool)
        }
        rmsNorm(
            part, weight: weight.value, epsilon: epsilon ?? configuration.normEpsilon, into: y,
            pool: pool)
        return y
    }

    /// dx += the gradient of `norm`; the weight's gradient at once, for it is a vector.
    func normBackward(
        _ x: Tensor, _ weight: Parameter, columns: Range<Int>? = nil, dy: Tensor,
        addingInto dx: Tensor, epsilon: Float? = nil
    ) {
        guard x.rows > 0 else { return }
        rmsNormBackward(
            x, weight: weight.value, epsilon: epsilon ?? configuration.normEpsilon,
            columns: columns, dy: dy, addingInto: dx, weightGradient: gradient(of: weight),
            pool: pool)
    }
}
