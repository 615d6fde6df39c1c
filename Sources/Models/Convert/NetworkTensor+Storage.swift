public import Checkpoints

extension NetworkTensor {
    /// The tensors that a file stores for this one.
    ///
    /// - Parameter isFloat8: Whether projections are e4m3 with scales, not bfloat16.
    public func stored(isFloat8: Bool) -> [OutputTensor] {
        guard isFloat8, role == .projection else {
            let type: StoredType = role == .bias ? .float32 : .bfloat16
            return [OutputTensor(name: name, type: type, shape: shape)]
        }
        return OutputTensor.float8(name: name, shape: shape)
    }
}
