public import Tensors

/// Times one matrix product, weights coming from memory and not from cache.
public struct KernelBenchmark: Sendable {
    /// What one product took, beside what the machine could do.
    public struct Figure: Sendable, Codable, Equatable {
        /// The format of the weights.
        public let format: String
        /// Rows of the input.
        public let rows: Int
        /// Median time of one product.
        public let microseconds: Double
        /// Bytes of packed weights read per second.
        public let bytesPerSecond: Double
        /// The same over the machine's measured read bandwidth.
        public let bandwidthFraction: Double
        /// Floating-point operations per second; a multiply-add is two.
        public let operationsPerSecond: Double
        /// The same over the machine's measured peak rate.
        public let peakFraction: Double
    }

    /// Outputs of the weight.
    public let outputs: Int
    /// Inputs of the weight.
    public let inputs: Int
    /// How inputs are treated.
    public let compute: Compute
    /// Bytes of weights to walk through before one comes again: more than the caches hold.
    package let workingBytes: Int

    /// The product of a weight `[outputs, inputs]`.
    public init(outputs: Int, inputs: Int, compute: Compute, workingBytes: Int = 256 << 20) {
        precondition(outputs > 0 && inputs > 0 && workingBytes > 0, "\(outputs)x\(inputs)")
        self.outputs = outputs
        self.inputs = inputs
        self.compute = compute
        self.workingBytes = workingBytes
    }

    /// Measures each count of rows with weights of one format.
    ///
    /// - Parameters:
    ///   - readBandwidth: From `Limits.readBandwidth`, measured in the same run.
    ///   - peak: From `Limits.peakFMA`, likewise.
    public func figures(
        format: NumberFormat, rows: [Int], readBandwidth: Double, peak: Double, pool: ThreadPool
    ) throws(TensorError) -> [Figure] {
        let weights = try makeWeights(format)
        return rows.map { rows in
            let x = Tensor(rows: rows, columns: inputs)
            x.fill(0.5)
            let y = Tensor(rows: rows, columns: outputs)
            // Each weight once; more rows need fewer rounds for a steady median.
            let rounds = max(3, min(weights.count, 2048 / rows))
            let times = (0 ..< rounds).map { round in
                let start = ContinuousClock.now
                linear(x, weights[round % weights.count], into: y, compute: compute, pool: pool)
                return (ContinuousClock.now - start) / .seconds(1)
            }
            let seconds = times.sorted()[rounds / 2]
            let bytes = Double(weights[0].byteCount) / seconds
            let operations = 2 * Double(rows * outputs * inputs) / seconds
            return Figure(
                format: format.rawValue, rows: rows, microseconds: seconds * 1e6,
                bytesPerSecond: bytes, bandwidthFraction: bytes / readBandwidth,
                operationsPerSecond: operations, peakFraction: operations / peak)
        }
    }

    private func makeWeights(_ format: NumberFormat) throws(TensorError) -> [Weight] {
        // A small positive number in every format: neither zero nor NaN.
        let bytes = [UInt8](repeating: 0x3c, count: format.byteCount(of: outputs * inputs))
        let scaleFormat: ScaleFormat =
            format == .int4 ? .bfloat16 : format == .mxfp4 ? .float8e8m0 : .float32
        let scaleCount = format.scaleCount(outputs: outputs, inputs: inputs)
        let scales = [UInt8](repeating: 0x3c, count: scaleCount * scaleFormat.size)
        var weights: [Weight] = []
        let size = bytes.count
        for _ in 0 ..< max(1, workingBytes / size) {
            weights.append(
                try Weight(
                    format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
                    scales: scales.isEmpty ? nil : scales.span.raw, scaleFormat: scaleFormat))
        }
        return weights
    }
}
