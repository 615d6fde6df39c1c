import Checkpoints
import Encoding
import Tensors

/// Rows of a matrix as a checkpoint stores them.
struct EncodedMatrix {
    /// The bytes, and where they go.
    let pieces: [CheckpointWriter.Piece]
    /// What they stand for.
    let values: Tensor

    /// Encodes rows of a matrix; those of FP8 begin at a multiple of 128.
    ///
    /// - Parameters:
    ///   - form: nil for bfloat16.
    ///   - file: Where the rows come from, for messages.
    /// - Throws: `CheckpointError` that names a number that has no code.
    init(
        _ rows: Tensor, of name: String, shape: [Int], from first: Int, as form: Quantization.Form?,
        file: String
    ) throws {
        switch form {
        case nil:
            pieces = [
                .init(
                    name: name, offset: first * rows.columns * 2,
                    bytes: Quantisation.bfloat16Bytes(rows.span))
            ]
            values = rows
        case .float8: (pieces, values) = Self.float8(rows, of: name, from: first)
        case .int4, .mxfp4, .mxfp4Blocks:
            let format: NumberFormat = form == .int4 ? .int4 : .mxfp4
            let names =
                form == .mxfp4Blocks
                ? FusedMatrix.partNames(of: name)
                : OutputTensor.fourBit(name: name, shape: shape, format: format).map(\.name)
            let (codes, scales): ([UInt8], [UInt8])
            do throws(TensorError) {
                (codes, scales) = try Quantisation.toFourBits(rows, as: format)
            } catch {
                var fault = error
                if case .notFinite(let output, let input) = error {
                    fault = .notFinite(output: first + output, input: input)
                }
                throw CheckpointError.tensor(
                    file: file, name: name.printable(), fact: "\(fault)")
            }
            values = Tensor(rows: rows.rows, columns: rows.columns)
            try Quantisation.fromFourBits(
                codes, scales: scales, format: format,
                scaleFormat: format == .int4 ? .bfloat16 : .float8e8m0, into: values)
            let scaleRow = scales.count / rows.rows
            var pieces: [CheckpointWriter.Piece] = [
                .init(
                    name: names[0], offset: first * format.byteCount(of: rows.columns),
                    bytes: codes),
                .init(name: names[1], offset: first * scaleRow, bytes: scales),
            ]
            if first == 0, names.count > 2 {
                pieces.append(.init(name: names[2], offset: 0, bytes: shape.flatMap(Self.bytes)))
            }
            self.pieces = pieces
        }
    }

    private static func float8(
        _ rows: Tensor, of name: String, from first: Int
    ) -> ([CheckpointWriter.Piece], Tensor) {
        let (codes, scales) = Quantisation.toFloat8(rows)
        let values = Tensor(rows: rows.rows, columns: rows.columns)
        Quantisation.fromFloat8(codes.span.raw, scales: scales, into: values)
        let scaleRow = (rows.columns + 127) / 128 * 4
        let pieces: [CheckpointWriter.Piece] = [
            .init(name: name, offset: first * rows.columns, bytes: codes),
            .init(
                name: name + OutputTensor.scaleSuffix, offset: first / 128 * scaleRow,
                bytes: scales.flatMap { scale in
                    (0 ..< 4).map { UInt8(truncatingIfNeeded: scale.bitPattern >> ($0 * 8)) }
                }),
        ]
        return (pieces, values)
    }

    /// A number in the eight bytes of I64.
    private static func bytes(_ number: Int) -> [UInt8] {
        (0 ..< 8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
}
