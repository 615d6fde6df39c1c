internal import CKernels

/// The moments of one parameter, in bf16 (DeepSeek-V3 report, §3.3.3).
public struct AdamMoments: Sendable {
    /// Bits of the mean of gradients.
    public var first: [UInt16]
    /// Bits of the mean of squared gradients.
    public var second: [UInt16]

    /// Begins with zeros.
    public init(count: Int) {
        first = Array(repeating: 0, count: count)
        second = first
    }
}

/// One step of AdamW over one parameter.
///
/// Source: Loshchilov and Hutter 2019, Algorithm 2.
public struct AdamRule: Sendable {
    /// Learning rate of this step.
    public var rate: Float
    /// Decay of the first moment.
    public var beta1: Float
    /// Decay of the second moment.
    public var beta2: Float
    /// Keeps the quotient finite.
    public var epsilon: Float
    /// Weight decay, times the rate.
    public var decay: Float
    /// Counted from 1.
    public var step: Int
    /// Clipping: applied to the gradient first.
    public var gradientScale: Float

    /// States a step.
    public init(
        rate: Float, beta1: Float, beta2: Float, epsilon: Float, decay: Float, step: Int,
        gradientScale: Float
    ) {
        precondition(step >= 1, "step \(step) of AdamW counts from 1")
        self.rate = rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.decay = decay
        self.step = step
        self.gradientScale = gradientScale
    }

    /// Updates Float32 master values from `offset` on with as many gradients as there are moments.
    ///
    /// - Parameter offset: Where the part of the parameter that this rank updates begins.
    public func apply(
        to values: Tensor, gradient: Tensor, moments: inout AdamMoments, offset: Int = 0,
        pool: ThreadPool
    ) {
        let count = moments.first.count
        precondition(
            offset >= 0 && offset + count <= values.count && values.count == gradient.count,
            "\(count) moments at \(offset) of \(values.count) values")
        guard count > 0 else { return }
        var rule = ck_adam_rule(
            rate: rate, beta1: beta1, beta2: beta2, epsilon: epsilon, decay: decay,
            correction1: 1 - pow(beta1, step), correction2: 1 - pow(beta2, step),
            gradient_scale: gradientScale)
        unsafe moments.first.withUnsafeMutableBufferPointer { first in
            unsafe moments.second.withUnsafeMutableBufferPointer { second in
                unsafe ck_adam(
                    &rule, values.base + offset, gradient.base + offset, first.baseAddress!,
                    second.baseAddress!, count, pool.handle)
            }
        }
    }

    private func pow(_ base: Float, _ exponent: Int) -> Float {
        var result = 1.0
        for _ in 0 ..< exponent {
            result *= Double(base)
            if result < 1e-30 { break }
        }
        return Float(result)
    }
}
