public import Tensors

extension SafetensorsWriter {
    /// Values that are rounded at a time, so that no large tensor is copied as a whole.
    private static let stripElements = 4 << 20

    /// Writes the bf16 patterns of a whole tensor.
    public func write(_ patterns: [UInt16], to name: String) throws(CheckpointError) {
        precondition(tensor(name).type == .bfloat16, "\(name) is \(tensor(name).type.rawValue)")
        try write(patterns.span.raw, to: name)
    }

    /// Writes all values of a tensor in the type that the header gives it: Float32 as they are,
    /// bfloat16 rounded, e4m3 with the scales of 128x128 blocks in the tensor beside it.
    public func write(_ values: Tensor, to name: String) throws(CheckpointError) {
        let type = tensor(name).type
        precondition(
            tensor(name).elementCount == values.count, "\(values.count) values for \(name)")
        let strip = max(1, Self.stripElements / max(1, values.columns) / 128) * 128
        for first in stride(from: 0, to: values.rows, by: strip) {
            let rows = values.view(rows: first ..< min(first + strip, values.rows))
            let offset = first * values.columns * type.byteCount
            switch type {
            case .float32: try write(rows.bytes, to: name, at: offset)
            case .bfloat16:
                let bytes = Quantisation.bfloat16Bytes(rows.span)
                try write(bytes.span.raw, to: name, at: offset)
            case .float8e4m3:
                let (bytes, scales) = Quantisation.toFloat8(rows)
                try write(bytes.span.raw, to: name, at: offset)
                try write(
                    Tensor(rows: 1, columns: scales.count, values: scales).bytes,
                    to: name + OutputTensor.scaleSuffix,
                    at: first / 128 * ((values.columns + 127) / 128) * 4)
            default: preconditionFailure("\(name) is \(type.rawValue)")
            }
        }
    }
}
