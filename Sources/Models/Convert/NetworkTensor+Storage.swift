public import Checkpoints
import Tensors

extension NetworkTensor {
    /// The tensors that a file stores for this one.
    ///
    /// - Parameter quantization: What `config.json` says; nil for bfloat16.
    public func stored(_ quantization: Quantization?) -> [OutputTensor] {
        stored(as: quantization?.form(of: self))
    }

    /// The same in a form that is chosen for it; nil for plain numbers.
    func stored(as form: Quantization.Form?) -> [OutputTensor] {
        switch form {
        case nil:
            let type: StoredType = role == .bias ? .float32 : .bfloat16
            return [OutputTensor(name: name, type: type, shape: shape)]
        case .float8: return OutputTensor.float8(name: name, shape: shape)
        case .int4: return OutputTensor.fourBit(name: name, shape: shape, format: .int4)
        case .mxfp4: return OutputTensor.fourBit(name: name, shape: shape, format: .mxfp4)
        case .mxfp4Blocks:
            return OutputTensor.blocks(
                name: name, experts: shape[0], outputs: shape[2], inputs: shape[1])
        }
    }
}
