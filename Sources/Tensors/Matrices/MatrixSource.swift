internal import CKernels

/// The shape of a matrix as a checkpoint holds it, row-major.
struct MatrixSource {
    let format: NumberFormat
    let outputs: Int
    let inputs: Int
    /// Of int4 and mxfp4.
    var scaleFormat = ScaleFormat.float32

    func check(byteCount: Int, scaleBytes: Int) throws(TensorError) {
        let limit = 1 ... Int(Int32.max)
        guard limit.contains(outputs), limit.contains(inputs) else {
            throw TensorError.shape(outputs: outputs, inputs: inputs)
        }
        guard inputs % format.inputMultiple == 0 else {
            throw TensorError.groups(inputs: inputs, size: format.inputMultiple)
        }
        let needed = format.byteCount(of: outputs * inputs)
        guard byteCount == needed else {
            throw TensorError.byteCount(of: "the matrix", is: byteCount, needs: needed)
        }
        precondition(
            format != .mxfp4 || scaleFormat == .float8e8m0, "mxfp4 with scales \(scaleFormat)")
        precondition(
            format == .mxfp4 || scaleFormat != .float8e8m0, "\(format) with scales of mxfp4")
        let neededScales =
            format.scaleCount(outputs: outputs, inputs: inputs) * scaleFormat.size
        guard scaleBytes == neededScales else {
            throw TensorError.byteCount(of: "the scales", is: scaleBytes, needs: neededScales)
        }
    }

    func checkInt8(_ values: UnsafeRawPointer) throws(TensorError) {
        let bytes = unsafe values.assumingMemoryBound(to: Int8.self)
        for i in 0 ..< outputs * inputs where unsafe bytes[i] == .min {
            throw TensorError.int8Minimum(output: i / inputs, input: i % inputs)
        }
    }

    func scale(_ scales: [Float], row: Int, column: Int) -> Float {
        switch format {
        case .float32, .bfloat16, .float16, .int4, .mxfp4: 1
        case .float8e4m3: scales[row / 128 * ((inputs + 127) / 128) + column / 128]
        case .int8: scales[row]
        }
    }
}

/// Some rows of a matrix, perhaps transposed, on their way into the kernels' layout.
struct MatrixPart {
    let source: MatrixSource
    let rows: Range<Int>
    let transposed: Bool

    var outputs: Int { transposed ? source.inputs : rows.count }
    var inputs: Int { transposed ? rows.count : source.inputs }

    /// Whether a kernel multiplies the format and the cut keeps scale blocks whole, so that the
    /// packed numbers are the source's.
    private var keepsFormat: Bool {
        switch source.format {
        case .float32, .bfloat16: true
        case .float16: false
        case .int8, .int4, .mxfp4: !transposed
        case .float8e4m3:
            rows.lowerBound % 128 == 0 || rows.lowerBound / 128 == (rows.upperBound - 1) / 128
        }
    }

    var packedFormat: NumberFormat { keepsFormat ? source.format : .float32 }

    /// The kernels' name of it.
    var packedCode: Int32 { packedFormat.code(scales: source.scaleFormat) }

    /// Memory that the packed numbers take, padding included.
    var packedBytes: Int { ck_packed_bytes(packedCode, Int32(outputs), Int32(inputs)) }

    /// Memory that their scales take.
    var packedScaleBytes: Int {
        ck_packed_scales(packedCode, Int32(outputs), Int32(inputs)) * MemoryLayout<Float>.stride
    }

    /// Memory for the packed part, its scales in place, its numbers zeros that were not touched.
    func reserve(_ scales: [Float]) -> ck_weight {
        let format = packedFormat
        let data = unsafe ck_allocate_packed(packedBytes)!
        return unsafe ck_weight(
            data: data, scales: packScales(format, scales), format: packedCode,
            outputs: Int32(outputs), inputs: Int32(inputs))
    }

    /// Bytes of one row of the source.
    var rowBytes: Int { source.format.byteCount(of: source.inputs) }

    /// Bytes of the scales of one row of a source of 4 bits.
    var scaleRowBytes: Int { source.inputs / Int(CK_GROUP_BLOCK) * source.scaleFormat.size }

    /// Whether `fill` may be called for some outputs at a time.
    var packsByOutputs: Bool {
        !transposed && (packedFormat == source.format || source.format == .float16)
    }

    /// Packs outputs `range` from the source's rows that hold them; without `packsByOutputs` only
    /// all of them.
    func fill(
        _ weight: ck_weight, outputs range: Range<Int>, from values: UnsafeRawPointer,
        _ scales: [Float]
    ) {
        precondition(packsByOutputs || range == 0 ..< outputs, "outputs \(range) of \(outputs)")
        if packedFormat == source.format {
            unsafe pack(weight, range, values)
        } else {
            let first = rows.lowerBound
            let kept = transposed ? rows : first + range.lowerBound ..< first + range.upperBound
            let wide = unsafe widened(values, scales, rows: kept)
            unsafe wide.withUnsafeBytes { unsafe pack(weight, range, $0.baseAddress!) }
        }
    }

    /// The same from a source of 4 bits and its scales, from the first of those rows on.
    func fillFourBit(
        _ weight: ck_weight, outputs range: Range<Int>, from values: UnsafeRawPointer,
        scales: UnsafeRawPointer
    ) throws(TensorError) {
        precondition(packsByOutputs || range == 0 ..< outputs, "outputs \(range) of \(outputs)")
        let code = source.format.code(scales: source.scaleFormat)
        let scaleCode = source.scaleFormat.code
        var wrong = -1
        if packedFormat == source.format {
            wrong = unsafe ck_pack_fourbit(
                code, values, scales, scaleCode, Int32(range.lowerBound), Int32(range.count),
                Int32(inputs), UnsafeMutableRawPointer(mutating: weight.data))
        } else {
            var wide = [Float](repeating: 0, count: rows.count * source.inputs)
            wrong = unsafe ck_decode_fourbit(
                code, values, scales, scaleCode, Int32(rows.count), Int32(source.inputs), &wide)
            unsafe wide.withUnsafeBytes { unsafe pack(weight, range, $0.baseAddress!) }
        }
        guard wrong < 0 else {
            let groups = source.inputs / Int(CK_GROUP_BLOCK)
            throw TensorError.scale(
                output: rows.lowerBound + range.lowerBound + wrong / groups, group: wrong % groups)
        }
    }

    private func pack(_ weight: ck_weight, _ range: Range<Int>, _ from: UnsafeRawPointer) {
        let row = transposed ? 1 : source.inputs
        let column = transposed ? source.inputs : 1
        unsafe ck_pack_rows(
            weight.format, from, row, column, Int32(range.lowerBound), Int32(range.count),
            Int32(inputs), UnsafeMutableRawPointer(mutating: weight.data))
    }

    private func widened(
        _ values: UnsafeRawPointer, _ scales: [Float], rows: Range<Int>
    ) -> [Float] {
        var wide = [Float](repeating: 0, count: rows.count * source.inputs)
        unsafe wide.withUnsafeMutableBufferPointer {
            unsafe ck_decode(source.format.code(), values, $0.baseAddress!, $0.count)
        }
        guard !scales.isEmpty else { return wide }
        for row in rows {
            for column in 0 ..< source.inputs {
                wide[(row - rows.lowerBound) * source.inputs + column] *= source.scale(
                    scales, row: row, column: column)
            }
        }
        return wide
    }

    /// One scale per panel of 64 outputs and block of 128 inputs, or one per output.
    private func packScales(_ format: NumberFormat, _ scales: [Float]) -> UnsafePointer<Float>? {
        let count = ck_packed_scales(packedCode, Int32(outputs), Int32(inputs))
        guard count > 0 else { return nil }
        let packed = unsafe ck_allocate_packed(count * 4)!.assumingMemoryBound(to: Float.self)
        if format == .int8 {
            for output in 0 ..< outputs {
                unsafe packed[output] = scales[rows.lowerBound + output]
            }
            return unsafe UnsafePointer(packed)
        }
        let blocks = (inputs + 127) / 128
        for panel in 0 ..< count / blocks {
            for block in 0 ..< blocks {
                let row = rows.lowerBound + (transposed ? block * 128 : panel * 64)
                let column = transposed ? panel * 64 : block * 128
                unsafe packed[panel * blocks + block] = source.scale(
                    scales, row: row, column: column)
            }
        }
        return unsafe UnsafePointer(packed)
    }
}

extension [Float] {
    /// Copies floats from bytes that need not be aligned.
    init(floats bytes: UnsafeRawBufferPointer) {
        unsafe self.init(unsafeUninitializedCapacity: bytes.count / 4) { target, count in
            unsafe UnsafeMutableRawBufferPointer(target).copyMemory(from: bytes)
            count = bytes.count / 4
        }
    }
}
