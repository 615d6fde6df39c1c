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
        /// Bytes that had to be read per second, over the measured read bandwidth.
        public var bandwidthFraction: Double
        /// Operations per second, over the measured peak rate.
        public var peakFraction: Double
        /// Where the time went.
        public var inside: TimeFigure

        enum CodingKeys: String, CodingKey {
            case tokens, batch, deviation, inside
            case tokensPerSecond = "tokens_per_second"
            case bandwidthFraction = "bandwidth_fraction"
            case peakFraction = "peak_fraction"
        }

        fileprivate mutating func rescale(read: Double, peak: Double) {
            bandwidthFraction *= read
            peakFraction *= peak
            inside.productPeakFraction *= peak
            inside.attentionPeakFraction *= peak
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

        enum CodingKeys: String, CodingKey {
            case products, attention
            case productPeakFraction = "product_peak_fraction"
            case attentionPeakFraction = "attention_peak_fraction"
        }
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

        enum CodingKeys: String, CodingKey {
            case bytes, seconds
            case freshReadSeconds = "fresh_read_seconds"
            case plainReadSeconds = "plain_read_seconds"
        }
    }

    /// All figures of one run.
    public struct Report: Sendable, Codable {
        /// Bytes per second that the threads read, measured in this run.
        public var readBandwidth: Double
        /// Floating-point operations per second that the threads reach, measured in this run.
        public var peakRate: Double
        /// One figure per prompt length.
        public var prefill: [Figure] = []
        /// One figure per batch size.
        public var decode: [Figure] = []
        /// What the process held while the largest batch was decoded.
        public var memory = MemoryFigure()
        /// How long loading took; nil unless it was measured.
        public var load: LoadFigure?

        enum CodingKeys: String, CodingKey {
            case prefill, decode, memory, load
            case readBandwidth = "read_bytes_per_second"
            case peakRate = "peak_flops"
        }

        /// Takes the better of two measurements of each limit.
        mutating func rescale(readBandwidth: Double, peakRate: Double) {
            let read = self.readBandwidth / max(self.readBandwidth, readBandwidth)
            let peak = self.peakRate / max(self.peakRate, peakRate)
            for index in prefill.indices { prefill[index].rescale(read: read, peak: peak) }
            for index in decode.indices { decode[index].rescale(read: read, peak: peak) }
            self.readBandwidth = max(self.readBandwidth, readBandwidth)
            self.peakRate = max(self.peakRate, peakRate)
        }
    }

    private let model: Model
    private let pool: ThreadPool
    private let plan: Plan
    private let format: LatentStore.Format

    /// Prepares a run.
    public init(
        _ model: Model, pool: ThreadPool, plan: Plan, format: LatentStore.Format = .bfloat16
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

    /// Measures everything, the limits before and after: a neighbour on the machine may slow one
    /// of the two measurements, and nothing makes it too fast.
    public func run() throws -> Report {
        var report = Report(
            readBandwidth: Limits.readBandwidth(pool: pool),
            peakRate: Limits.peakFMA(compute: model.compute, pool: pool))
        for tokens in plan.prefill where tokens > 0 {
            var figure = try measure(report, tokens: tokens) { try prefill(tokens, batch: 1) }
            figure.tokens = tokens
            report.prefill.append(figure)
        }
        for batch in plan.batches where batch > 0 && plan.decodeTokens > 0 {
            let state = try startDecode(batch)
            defer { state.release() }
            var figure = try measure(report, tokens: plan.decodeTokens * batch) {
                try decode(state)
            }
            figure.batch = batch
            report.decode.append(figure)
            report.memory.note(model, cache: state.byteCount)
        }
        report.rescale(
            readBandwidth: Limits.readBandwidth(pool: pool),
            peakRate: Limits.peakFMA(compute: model.compute, pool: pool))
        return report
    }

    /// Repeats some work, after once unmeasured.
    private func measure(
        _ report: Report, tokens: Int, _ work: () throws -> Void
    ) throws -> Figure {
        try work()
        var rates: [Double] = []
        var seconds = 0.0
        let before = model.work
        let times = try pool.keepingTimes {
            for _ in 0 ..< plan.repetitions {
                let start = ContinuousClock.now
                try work()
                let elapsed = (ContinuousClock.now - start) / .seconds(1)
                seconds += elapsed
                rates.append(Double(tokens) / elapsed)
            }
        }
        let done = model.work - before
        let attended = Double(done.attentionOperations) / times.attentionSeconds
        let mean = rates.reduce(0, +) / Double(rates.count)
        let variance = rates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rates.count)
        let operations = Double(done.matrixOperations + done.attentionOperations)
        return Figure(
            tokensPerSecond: mean, deviation: variance.squareRoot(),
            bandwidthFraction: Double(done.readBytes) / seconds / report.readBandwidth,
            peakFraction: operations / seconds / report.peakRate,
            inside: TimeFigure(
                products: times.productSeconds / seconds,
                productPeakFraction: times.productOperations / times.productSeconds
                    / report.peakRate,
                attention: times.attentionSeconds / seconds,
                attentionPeakFraction: attended / report.peakRate))
    }

    /// Sequences that are ready to decode.
    private struct DecodeState {
        let cache: LatentCache
        let tables: [[BlockID]]

        func release() { for block in tables.joined() { cache.release(block) } }

        var byteCount: Int { cache.blockCount * cache.blockTokens * cache.bytesPerToken }
    }

    /// A token that depends on its place, so that experts are used as unevenly as random weights
    /// make them.
    private func token(_ sequence: Int, _ position: Int) -> Int {
        (sequence * 7919 + position * 104_729 + 17) % model.configuration.vocabularySize
    }

    private func makeState(_ batch: Int, tokens: Int) -> DecodeState {
        let needed = (tokens + LatentCache.defaultBlockTokens - 1) / LatentCache.defaultBlockTokens
        let cache = LatentCache(
            configuration: model.configuration, format: format, blockCount: needed * batch)
        let tables = (0 ..< batch).map { _ in
            var table: [BlockID] = []
            _ = cache.extend(&table, tokens: tokens)
            return table
        }
        return DecodeState(cache: cache, tables: tables)
    }

    private func prefill(_ tokens: Int, batch: Int) throws {
        let state = makeState(batch, tokens: tokens)
        let chunk = SequenceChunk(
            tokens: (0 ..< tokens).map { token(0, $0) }, position: 0, blocks: state.tables[0])
        _ = try model.forward([chunk], cache: state.cache)
    }

    /// Caches `depth` tokens of every sequence.
    private func startDecode(_ batch: Int) throws -> DecodeState {
        let state = makeState(batch, tokens: plan.depth + plan.decodeTokens)
        for sequence in 0 ..< batch {
            for start in stride(from: 0, to: plan.depth, by: 512) {
                let range = start ..< min(start + 512, plan.depth)
                let chunk = SequenceChunk(
                    tokens: range.map { token(sequence, $0) }, position: start,
                    blocks: state.tables[sequence], wanted: .none)
                _ = try model.forward([chunk], cache: state.cache)
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
