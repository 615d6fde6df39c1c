import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct WeightPackingTests {
        /// A matrix behind some bytes of a file that belong to others.
        private func file(_ matrix: Matrix, before: Int) throws -> MappedFile {
            let folder = FileManager.default.temporaryDirectory
            let path = folder.appending(path: "packing-\(UUID().uuidString)").path
            let sink = try FileSink(path: path)
            try sink.append([UInt8](repeating: 0x77, count: before) + matrix.bytes + [0x77])
            return try MappedFile(path: path)
        }

        private func packing(
            _ matrix: Matrix, in file: MappedFile, before: Int, rows: Range<Int>? = nil,
            transposed: Bool = false
        ) throws -> WeightPacking {
            try WeightPacking(
                file, bytes: before ..< before + matrix.bytes.count, format: matrix.format,
                outputs: matrix.outputs, inputs: matrix.inputs, scales: matrix.scaleValues,
                rows: rows, transposed: transposed)
        }

        @Test(arguments: levels, [NumberFormat.float32, .bfloat16, .float16, .float8e4m3])
        func `pieces packed by several threads hold the file's values`(
            level: Processor, format: NumberFormat
        ) throws {
            // Several pieces with a ragged end, one piece, and a side that no vector divides.
            for (outputs, inputs, before) in [(1100, 4096, 8), (150, 290, 3), (64, 64, 1)] {
                var random = Random(seed: UInt64(outputs))
                let matrix = Matrix(format, outputs, inputs, &random)
                let file = try file(matrix, before: before)
                defer { try? FileManager.default.removeItem(atPath: file.path) }
                let packing = try packing(matrix, in: file, before: before)
                #expect(packing.pieceCount > 1 || outputs < 1100)
                #expect(packing.byteCount == matrix.bytes.count)
                at(level) {
                    ThreadPool(threads: 3).forEach(packing)
                }
                #expect(matrix.differences(from: packing.weight) == 0)
            }
        }

        @Test(arguments: [NumberFormat.float32, .bfloat16, .float16], [false, true])
        func `a matrix is found among others whose outputs lie in turn`(
            format: NumberFormat, transposed: Bool
        ) throws {
            var random = Random(seed: 11)
            let (outputs, inputs, size) = (150, 96, format.byteCount(of: 1))
            let matrices = (0 ..< 3).map { _ in Matrix(format, outputs, inputs, &random) }
            var bytes: [UInt8] = []
            // By output, or by input and output.
            for place in 0 ..< (transposed ? inputs * outputs : outputs) {
                let (input, output) = (place / outputs, place % outputs)
                let first = (transposed ? output * inputs + input : place * inputs) * size
                for matrix in matrices {
                    bytes += matrix.bytes[first ..< first + (transposed ? 1 : inputs) * size]
                }
            }
            let folder = FileManager.default.temporaryDirectory
            let path = folder.appending(path: "packing-\(UUID().uuidString)").path
            let sink = try FileSink(path: path)
            defer { try? FileManager.default.removeItem(atPath: path) }
            try sink.append([7, 7, 7] + bytes)
            let file = try MappedFile(path: path)
            for (index, matrix) in matrices.enumerated() {
                let packing = try WeightPacking(
                    file, bytes: 3 ..< 3 + bytes.count, format: format,
                    outputs: transposed ? inputs : outputs, inputs: transposed ? outputs : inputs,
                    transposed: transposed, interleaving: Interleaving(count: 3, index: index))
                ThreadPool(threads: 2).forEach(packing)
                #expect(matrix.differences(from: packing.weight) == 0)
            }
        }

        @Test(arguments: [NumberFormat.float32, .bfloat16, .float16, .float8e4m3], [false, true])
        func `a cut holds the values of its rows, transposed or not`(
            format: NumberFormat, transposed: Bool
        ) throws {
            var random = Random(seed: 5)
            let matrix = Matrix(format, 400, 140, &random)
            let file = try file(matrix, before: 5)
            defer { try? FileManager.default.removeItem(atPath: file.path) }
            for rows in [128 ..< 256, 130 ..< 190, 100 ..< 200] {
                let packing = try packing(
                    matrix, in: file, before: 5, rows: rows, transposed: transposed)
                ThreadPool(threads: 2).forEach(packing)
                let weight = packing.weight
                #expect(
                    matrix.differences(from: weight, rows: rows, transposed: transposed) == 0)
            }
        }

        @Test func `a file that was cut after it was mapped is an error, not a crash`() throws {
            var random = Random(seed: 6)
            let matrix = Matrix(.bfloat16, 256, 64, &random)
            let file = try file(matrix, before: 0)
            defer { try? FileManager.default.removeItem(atPath: file.path) }
            let packing = try packing(matrix, in: file, before: 0)
            try FileHandle(forWritingTo: URL(filePath: file.path)).truncate(atOffset: 1000)
            let error = #expect(throws: PackingError.self) {
                try packing.pack(0, pool: ThreadPool(threads: 1), thread: 0)
            }
            guard case .file(let fault) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(fault.description == "\(file.path): pread: No data available")
            #expect(throws: FileError.self) { try file.readBytes(0 ..< 2000) }
            #expect(try file.readBytes(0 ..< 1000) == Array(matrix.bytes[..<1000]))
        }

        @Test func `a plain read takes time, whether it keeps what it reads or not`() throws {
            var random = Random(seed: 7)
            let matrix = Matrix(.float32, 700, 512, &random)
            let file = try file(matrix, before: 0)
            defer { try? FileManager.default.removeItem(atPath: file.path) }
            let pool = ThreadPool(threads: 2)
            for target in [Limits.ReadTarget.oneBuffer, .freshMemory] {
                #expect(try Limits.plainRead(of: [file.path], into: target, pool: pool) > 0)
                #expect(throws: FileError.self) {
                    try Limits.plainRead(of: [file.path + ".no"], into: target, pool: pool)
                }
            }
        }
    }
}

extension ThreadPool {
    /// Packs every piece, each thread every so many.
    fileprivate func forEach(_ packing: WeightPacking) {
        run { thread, threads in
            for piece in stride(from: thread, to: packing.pieceCount, by: threads) {
                #expect(throws: Never.self) { try packing.pack(piece, pool: self, thread: thread) }
            }
        }
    }
}

extension Matrix {
    var scaleValues: [Float] {
        stride(from: 0, to: scales.count, by: 4).map { start in
            let bits = (0 ..< 4).reduce(UInt32(0)) {
                $0 | UInt32(scales[start + $1]) << (8 * UInt32($1))
            }
            return Float(bitPattern: bits)
        }
    }

    /// How many elements of a weight are not those of the matrix.
    func differences(
        from weight: Weight, rows: Range<Int>? = nil, transposed: Bool = false
    ) -> Int {
        let wide = weight.widened()
        let kept = rows ?? 0 ..< outputs
        return kept.reduce(0) { count, row in
            let index = row - kept.lowerBound
            return count
                + (0 ..< inputs).count { column in
                    let value = transposed ? wide[column, index] : wide[index, column]
                    return Double(value) != self.value(row, column)
                }
        }
    }
}
