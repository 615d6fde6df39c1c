/// Times products of each kind by the loops of each level, on data in the cache.
///
/// It sets levels while it runs, so nothing else may compute meanwhile.
struct KernelMeasurement {
    /// Rounds, of which the best counts; levels take turns, so that a neighbour slows all alike.
    private static let rounds = 5
    /// What one time takes at least, in seconds: far above what reading the clock takes.
    private static let leastSeconds = 30e-6
    /// The weight: in f32 it fills a quarter of a 1 MiB cache.
    private static let (outputs, inputs) = (128, 512)
    /// Rows enough for AVX2 to lay inputs as tiles, as it does for a prompt.
    private static let manyRows = 64
    /// Attention of some heads over a chunk of positions, V3's parts halved.
    private static let (heads, positions, latent, rope) = (16, 256, 256, 64)

    private let pool = ThreadPool(threads: 1)

    /// Times of all kinds that have more than one candidate.
    ///
    /// - Parameter available: The levels that the CPU has.
    func times(_ available: [Processor]) -> [KernelChoice.Time] {
        ProductKind.allCases.flatMap { kind in
            let candidates = kind.candidates(available)
            let before = Processor.inUse(for: kind)
            defer { before.use(for: kind) }
            guard candidates.count > 1, let work = Work(kind) else { return [KernelChoice.Time]() }
            var best = candidates.map { _ in (one: Double.infinity, many: Double.infinity) }
            for _ in 0 ..< Self.rounds {
                for (index, level) in candidates.enumerated() {
                    level.use(for: kind)
                    best[index].one = min(best[index].one, seconds { work.run(1, pool) })
                    best[index].many = min(best[index].many, seconds { work.run(0, pool) })
                }
            }
            return zip(candidates, best).map { level, best in
                KernelChoice.Time(
                    kind: kind, level: level, bytes: work.bytes, oneRowSeconds: best.one,
                    manyRowsSeconds: best.many)
            }
        }
    }

    /// Seconds of one call, of as many as make a time worth measuring.
    private func seconds(_ body: () -> Void) -> Double {
        var calls = 0
        let start = ContinuousClock.now
        var passed = 0.0
        repeat {
            body()
            calls += 1
            passed = (ContinuousClock.now - start) / .seconds(1)
        } while passed < Self.leastSeconds
        return passed / Double(calls)
    }

    /// What one kind computes.
    private struct Work {
        /// Bytes of its weight, or of the cache.
        let bytes: Int
        /// With one row (1) or many (0).
        let run: (_ rows: Int, ThreadPool) -> Void

        /// Nil where no weight can be made, which no format's own bytes bring about.
        init?(_ kind: ProductKind) {
            guard kind != .attention else {
                self = Self.attention()
                return
            }
            let (outputs, inputs) = (KernelMeasurement.outputs, KernelMeasurement.inputs)
            guard let weight = Self.weight(kind, outputs, inputs) else { return nil }
            let x = Tensor(rows: KernelMeasurement.manyRows, columns: inputs)
            x.fill(0.5)
            let y = Tensor(rows: x.rows, columns: outputs)
            let (first, target) = (x.view(rows: 0 ..< 1), y.view(rows: 0 ..< 1))
            bytes = weight.byteCount
            run = { rows, pool in
                linear(
                    rows == 1 ? first : x, weight, into: rows == 1 ? target : y,
                    compute: .bfloat16, pool: pool)
            }
        }

        /// Numbers that are neither zero, subnormal nor NaN in any format.
        private static func weight(_ kind: ProductKind, _ outputs: Int, _ inputs: Int) -> Weight? {
            guard let format = NumberFormat(rawValue: kind.rawValue) else { return nil }
            let bytes = [UInt8](repeating: 0x3c, count: format.byteCount(of: outputs * inputs))
            let scaleFormat: ScaleFormat =
                format == .int4 ? .bfloat16 : format == .mxfp4 ? .float8e8m0 : .float32
            let count = format.scaleCount(outputs: outputs, inputs: inputs)
            let scales = [UInt8](repeating: 0x3c, count: count * scaleFormat.size)
            return try? unsafe Weight(
                format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.bytes,
                scales: scales.isEmpty ? nil : scales.span.bytes, scaleFormat: scaleFormat)
        }

        private init(bytes: Int, run: @escaping (Int, ThreadPool) -> Void) {
            self.bytes = bytes
            self.run = run
        }

        /// Two tokens against one.
        private static func attention() -> Work {
            let (heads, positions) = (KernelMeasurement.heads, KernelMeasurement.positions)
            let (latent, rope) = (KernelMeasurement.latent, KernelMeasurement.rope)
            let entry = LatentEntry(format: .bfloat16, latent: latent, rope: rope)
            let store = BlockStore(
                format: .bfloat16, entryBytes: entry.byteCount, blockCount: 1,
                blockTokens: positions)
            let values = [Float](repeating: 0.5, count: latent + rope)
            for slot in 0 ..< positions {
                entry.write(values.span, to: store, block: 0, slot: slot)
            }
            let queries = Tensor(rows: 2, columns: heads * (latent + rope))
            queries.fill(0.5)
            let out = Tensor(rows: 2, columns: heads * latent)
            let batches = (1 ... 2).map { tokens in
                var batch = AttentionBatch()
                batch.append(blocks: [0], position: positions - tokens, tokens: tokens)
                return batch
            }
            return Work(bytes: store.byteCount) { rows, pool in
                let tokens = rows == 1 ? 1 : 2
                entry.attend(
                    queries.view(rows: 0 ..< tokens), batch: batches[tokens - 1], store: store,
                    heads: heads, scale: 0.1, into: out.view(rows: 0 ..< tokens),
                    compute: .bfloat16, pool: pool)
            }
        }
    }
}
