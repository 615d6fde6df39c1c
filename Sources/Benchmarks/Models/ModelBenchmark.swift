public import Models
public import Tensors

/// Measures prefill and decode against what the machine can do at best.
public struct ModelBenchmark {
    /// What to measure.
    public struct Plan: Sendable {
        /// Prompt lengths.
        public var prefill = [512]
        /// Tokens to decode per sequence.
        public var decodeTokens = 64
        /// Sequences that decode together.
        public var batches = [1]
        /// Tokens that are cached before decoding begins.
        public var depth = 0
        /// Whether only the first 512 of them are a prompt's, and the others copies of those: for
        /// depths whose prompt would take hours.
        public var copiesPrompt = false
        /// Whether a network with sparse attention also decodes with dense attention.
        public var comparesDense = false
        /// How often each is repeated.
        public var repetitions = 3

        /// The defaults.
        public init() {}
    }

    /// One measured figure: a rate with its deviation, and the limit it runs against.
    public struct Figure: Sendable, Codable {
        /// Prompt length, for prefill.
        public var tokens: Int?
        /// Sequences, for decode.
        public var batch: Int?
        /// Mean over the repetitions.
        public var tokensPerSecond: Double
        /// Standard deviation over the repetitions.
        public var deviation: Double
        /// Bytes that had to be read, over what the threads could have read in the same time by
        /// the limits measured right before and after each repetition.
        public var bandwidthFraction: Double
        /// Operations per second, over the peak rate measured likewise.
        public var peakFraction: Double
        /// The limits of those fractions, means over the measured time.
        public var limit: Limit
        /// Where the time went.
        public var inside: TimeFigure
    }

    /// What the threads can do at best, at one time.
    public struct Limit: Sendable, Codable {
        /// Bytes per second that they read from memory.
        public var readBytesPerSecond: Double
        /// Floating-point operations per second that they reach on registers.
        public var peakOperationsPerSecond: Double

        fileprivate init(_ model: Model, pool: ThreadPool) {
            readBytesPerSecond = Limits.readBandwidth(pool: pool, rounds: 3)
            peakOperationsPerSecond = Limits.peakFMA(compute: model.compute, pool: pool, rounds: 3)
        }

        /// The better of two measurements: a neighbour on the machine may slow one of them, and
        /// nothing makes it too fast.
        fileprivate func better(_ other: Self) -> Self {
            var both = self
            both.readBytesPerSecond = max(readBytesPerSecond, other.readBytesPerSecond)
            both.peakOperationsPerSecond = max(
                peakOperationsPerSecond, other.peakOperationsPerSecond)
            return both
        }
    }

    /// Where the time of a measurement went; the rest is norms, routing and moving rows.
    public struct TimeFigure: Sendable, Codable {
        /// The part of the time spent in matrix products, rounding their inputs included.
        public var products: Double
        /// Operations per second within that time, over the measured peak rate.
        public var productPeakFraction: Double
        /// The part of the time spent in attention proper: scores, softmax, sums of latents.
        public var attention: Double
        /// Operations per second within that time, over the measured peak rate.
        public var attentionPeakFraction: Double
    }

    /// Loading, beside the least that it could take.
    public struct LoadFigure: Sendable, Codable {
        /// Bytes of the checkpoint's files.
        public var bytes: Int
        /// Seconds from opening the folder to a model that is ready.
        public var seconds: Double
        /// Seconds in which the same threads read the files into fresh memory that holds them;
        /// nil where memory for both was not free.
        public var freshReadSeconds: Double?
        /// Seconds in which they read the files into one small buffer, and keep nothing.
        public var plainReadSeconds: Double

        /// Names what was measured.
        public init(
            bytes: Int, seconds: Double, freshReadSeconds: Double?, plainReadSeconds: Double
        ) {
            self.bytes = bytes
            self.seconds = seconds
            self.freshReadSeconds = freshReadSeconds
            self.plainReadSeconds = plainReadSeconds
        }
    }

    /// All figures of one run.
    public struct Report: Sendable, Codable {
        /// One figure per prompt length.
        public var prefill: [Figure] = []
        /// One figure per batch size.
        public var decode: [Figure] = []
        /// The same with dense attention; empty unless the plan asks for it.
        public var dense: [Figure] = []
        /// What the process held while the largest batch was decoded.
        public var memory = MemoryFigure()
        /// How long loading took; nil unless it was measured.
        public var load: LoadFigure?
    }

    private let model: Model
    private let pool: ThreadPool
    private let plan: Plan
    private let format: EntryFormat

    /// Prepares a run.
    public init(
        _ model: Model, pool: ThreadPool, plan: Plan, format: EntryFormat = .bfloat16
    ) throws(ModelError) {
        let longest = max(plan.prefill.max() ?? 0, plan.depth + plan.decodeTokens + 1)
        guard longest <= model.contextLimit else {
            throw .request(
                "\(longest) tokens exceed the context of \(model.contextLimit) "
                    + "(max_position_embeddings)")
        }
        self.model = model
        self.pool = pool
        self.plan = plan
        self.format = format
    }

    /// Measures everything.
    public func run() throws -> Report {
        var report = Report()
        for tokens in plan.prefill where tokens > 0 {
            var figure = try measure(tokens: tokens) { try prefill(tokens, batch: 1) }
            figure.tokens = tokens
            report.prefill.append(figure)
        }
        for batch in plan.batches where batch > 0 && plan.decodeTokens > 0 {
            let state = try startDecode(batch)
            var figure = try measure(tokens: plan.decodeTokens * batch) { try decode(state) }
            figure.batch = batch
            report.decode.append(figure)
            if plan.comparesDense && model.isSparse {
                model.attendsDensely = true
                defer { model.attendsDensely = false }
                var figure = try measure(tokens: plan.decodeTokens * batch) { try decode(state) }
                figure.batch = batch
                report.dense.append(figure)
            }
            report.memory.note(model, cache: state.byteCount)
        }
        return report
    }

    /// Repeats some work, after once unmeasured. The limits are measured between repetitions,
    /// because a machine's memory may be half as fast one second later.
    private func measure(tokens: Int, _ work: () throws -> Void) throws -> Figure {
        try work()
        var samples: [Sample] = []
        let before = model.work
        var last = Limit(model, pool: pool)
        let times = try pool.keepingTimes {
            for _ in 0 ..< plan.repetitions {
                let start = ContinuousClock.now
                try work()
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                let next = Limit(model, pool: pool)
                samples.append(Sample(seconds: seconds, limit: last.better(next)))
                last = next
            }
        }
        return Figure(
            samples, tokens: tokens, done: model.work - before, times: times)
    }

    /// Sequences that are ready to decode.
    private struct DecodeState {
        let cache: BlockCache
        let tables: [[BlockID]]

        var byteCount: Int { cache.blockCount * cache.blockTokens * cache.bytesPerToken }
    }

    /// A token that depends on its place, so that experts are used as unevenly as random weights
    /// make them.
    private func token(_ sequence: Int, _ position: Int) -> Int {
        (sequence * 7919 + position * 104_729 + 17) % model.configuration.vocabularySize
    }

    private func makeState(_ batch: Int, tokens: Int) -> DecodeState {
        let needed = (tokens + BlockCache.defaultBlockTokens - 1) / BlockCache.defaultBlockTokens
        let cache = BlockCache(
            configuration: model.configuration, format: format, blockCount: needed * batch)
        let tables = (0 ..< batch).map { cache.blocks(tokens: tokens, from: $0 * needed) }
        return DecodeState(cache: cache, tables: tables)
    }

    private func prefill(_ tokens: Int, batch: Int) throws {
        let state = makeState(batch, tokens: tokens)
        let chunk = SequenceChunk(
            tokens: (0 ..< tokens).map { token(0, $0) }, position: 0, blocks: state.tables[0])
        _ = try model.forward([chunk], cache: state.cache)
    }

    /// Tokens of a prompt that are cached together.
    private static let pieceTokens = 512

    /// Caches `depth` tokens of every sequence.
    private func startDecode(_ batch: Int) throws -> DecodeState {
        let state = makeState(batch, tokens: plan.depth + plan.decodeTokens)
        let prompt = plan.copiesPrompt ? min(plan.depth, Self.pieceTokens) : plan.depth
        for sequence in 0 ..< batch {
            for start in stride(from: 0, to: prompt, by: Self.pieceTokens) {
                let range = start ..< min(start + Self.pieceTokens, prompt)
                let chunk = SequenceChunk(
                    tokens: range.map { token(sequence, $0) }, position: start,
                    blocks: state.tables[sequence], wanted: .none)
                _ = try model.forward([chunk], cache: state.cache)
            }
            guard prompt < plan.depth else { continue }
            let blocks = state.tables[sequence]
            let first = Self.pieceTokens / state.cache.blockTokens
            for index in first ..< blocks.count {
                state.cache.copy(blocks[index % first], to: blocks[index])
            }
        }
        return state
    }

    private func decode(_ state: DecodeState) throws {
        for step in 0 ..< plan.decodeTokens {
            let position = plan.depth + step
            let chunks = state.tables.indices.map { sequence in
                SequenceChunk(
                    tokens: [token(sequence, position)], position: position,
                    blocks: state.tables[sequence])
            }
            _ = try model.forward(chunks, cache: state.cache)
        }
    }
}

/// One repetition, and the limits beside it.
private struct Sample {
    let seconds: Double
    let limit: ModelBenchmark.Limit
}

extension ModelBenchmark.Figure {
    /// `done` is the work of all samples.
    fileprivate init(
        _ samples: [Sample], tokens: Int, done: WorkCount, times: ThreadPool.Times
    ) {
        let rates = samples.map { Double(tokens) / $0.seconds }
        let mean = rates.reduce(0, +) / Double(rates.count)
        let variance = rates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rates.count)
        let seconds = samples.reduce(0) { $0 + $1.seconds }
        // What could have been read and computed in these times.
        var limit = samples[0].limit
        limit.readBytesPerSecond = samples.reduce(0) {
            $0 + $1.seconds * $1.limit.readBytesPerSecond
        }
        limit.peakOperationsPerSecond = samples.reduce(0) {
            $0 + $1.seconds * $1.limit.peakOperationsPerSecond
        }
        limit.readBytesPerSecond /= seconds
        limit.peakOperationsPerSecond /= seconds
        let operations = Double(done.matrixOperations + done.attentionOperations)
        let peak = limit.peakOperationsPerSecond
        self.init(
            tokensPerSecond: mean, deviation: variance.squareRoot(),
            bandwidthFraction: Double(done.readBytes) / seconds / limit.readBytesPerSecond,
            peakFraction: operations / seconds / peak, limit: limit,
            inside: ModelBenchmark.TimeFigure(
                products: times.productSeconds / seconds,
                productPeakFraction: times.productOperations / times.productSeconds / peak,
                attention: times.attentionSeconds / seconds,
                attentionPeakFraction: Double(done.attentionOperations)
                    / times.attentionSeconds / peak))
    }
}
