import Checkpoints
import Collectives
public import Models
public import Tensors
public import Topology

/// A network as the engine uses it: steps over chunks of many sequences, with latents in blocks.
///
/// Every rank calls the same methods in the same order, a rank without tokens with no chunks.
public protocol SequenceNetwork: AnyObject {
    /// Tokens it knows.
    var vocabularySize: Int { get }
    /// Positions a sequence may have.
    var contextLimit: Int { get }
    /// Blocks of its latent cache, and positions of one block.
    var blockCount: Int { get }
    /// Positions per block.
    var blockTokens: Int { get }
    /// Tokens that end a text.
    var endTokens: [Int] { get }
    /// Whether `draft` may be called.
    var canDraft: Bool { get }

    /// Whether `draft` needs no other rank.
    var draftsAlone: Bool { get }

    /// Whether tokens travel to experts on other ranks.
    var sharesExperts: Bool { get }

    /// Tokens of one rank up to which the ranks of its node may compute them together; 0 where
    /// they may not.
    var sharedRows: Int { get }

    /// Runs one batch.
    func forward(_ chunks: [SequenceChunk], keepsHidden: Bool) throws -> ForwardResult

    /// Runs one batch, whose rows all ranks of a node compute together.
    ///
    /// - Parameter leader: The rank of this node that has them, at most `sharedRows`; nil where
    ///   each rank computes its own.
    func forward(
        _ chunks: [SequenceChunk], keepsHidden: Bool, leader: Rank?
    ) throws -> ForwardResult

    /// Runs two batches, one computing while the other's tokens travel.
    func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], keepsHidden: Bool
    ) throws -> (ForwardResult, ForwardResult)

    /// Drafts one token further: `tokens[i]` of a chunk is the token at `position + i + 1`.
    func draft(_ chunks: [SequenceChunk], hidden: Tensor) throws -> ForwardResult

    /// Where the time of the steps since the last call went.
    func takeTime() -> StepTime

    /// Notes its exchanges for a recorder from now on; to be called again in each epoch.
    func record(to recorder: RankRecorder)
}

extension SequenceNetwork {
    /// Where all is on one rank, or products are not computed at all.
    public var sharedRows: Int { 0 }

    public func forward(
        _ chunks: [SequenceChunk], keepsHidden: Bool, leader: Rank?
    ) throws -> ForwardResult {
        precondition(leader == nil, "\(sharedRows) rows are shared")
        return try forward(chunks, keepsHidden: keepsHidden)
    }
}

/// A network that counts what it sends.
protocol TrafficCounting {
    /// What has travelled to each rank of the epoch since the last call, in the fabric's order;
    /// empty where no rank shares experts.
    func takeTraffic() -> [RankTraffic]
}

/// DeepSeek-V3 with its latent cache.
public final class DeepSeekNetwork: SequenceNetwork, TrafficCounting {
    private let model: Model
    private let cache: BlockCache
    public let endTokens: [Int]
    private var lastSequence: UInt64 = 0
    private var lastExpertTime = Duration.zero
    private var lastTraffic: [RankTraffic] = []

    /// Joins a model and a cache.
    ///
    /// - Parameter endTokens: Tokens that end a text; the configuration's unless said otherwise.
    public init(model: Model, cache: BlockCache, endTokens: [Int]? = nil) {
        self.model = model
        self.cache = cache
        self.endTokens = endTokens ?? model.configuration.endTokens
    }

    /// Bytes of the checkpoint that this rank packed.
    var weightByteCount: Int { model.weightByteCount }

    /// Counts which routed experts the steps choose.
    var expertCounter: ExpertCounter { model.expertCounter }

    /// Shares the routed experts with the ranks of another epoch.
    func share(
        _ shared: SharedExperts?, fetched: FetchedExperts?, from checkpoint: Checkpoint,
        progress: ((LoadProgress) -> Void)?
    ) throws {
        try model.share(shared, fetched: fetched, from: checkpoint, progress: progress)
        // The records of the new group begin anew.
        lastSequence = 0
        lastTraffic = []
    }

    public var vocabularySize: Int { model.configuration.vocabularySize }
    public var contextLimit: Int { model.contextLimit }
    public var blockCount: Int { cache.blockCount }
    public var blockTokens: Int { cache.blockTokens }
    public var canDraft: Bool { model.canDraft }
    public var draftsAlone: Bool { model.draftsAlone }
    public var sharesExperts: Bool { model.shared != nil }

    public var sharedRows: Int { model.sharedRows }

    public func forward(_ chunks: [SequenceChunk], keepsHidden: Bool) throws -> ForwardResult {
        try forward(chunks, keepsHidden: keepsHidden, leader: nil)
    }

    public func forward(
        _ chunks: [SequenceChunk], keepsHidden: Bool, leader: Rank?
    ) throws -> ForwardResult {
        try model.forward(chunks, cache: cache, keepsHidden: keepsHidden, leader: leader)
    }

    public func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], keepsHidden: Bool
    ) throws -> (ForwardResult, ForwardResult) {
        try model.forward(first, second, cache: cache, keepsHidden: keepsHidden)
    }

    public func draft(_ chunks: [SequenceChunk], hidden: Tensor) throws -> ForwardResult {
        try model.draft(chunks, hidden: hidden, cache: cache)
    }

    /// Performs a step whose answer nobody reads: it touches every weight and every window once.
    ///
    /// Collective, as every step is.
    ///
    /// - Parameter limit: The most tokens that a step may have.
    func warmUp(atMost limit: Int) throws {
        // Some rows, so that the kernels for many rows run too.
        let count = min(8, limit, blockTokens, contextLimit)
        let chunk = SequenceChunk(
            tokens: Array(repeating: 0, count: count), position: 0,
            blocks: [BlockID(rawValue: 0)])
        _ = try forward([chunk], keepsHidden: false, leader: nil)
        _ = takeTime()
        _ = takeTraffic()
        _ = expertCounter.take()
    }

    public func record(to recorder: RankRecorder) {
        guard let group = model.shared?.group else { return }
        recorder.watch(group)
    }

    func takeTraffic() -> [RankTraffic] {
        guard let group = model.shared?.group else { return [] }
        let now = group.traffic
        var grown = now
        for (index, before) in lastTraffic.enumerated() { grown[index].bytes -= before.bytes }
        lastTraffic = now
        return grown
    }

    public func takeTime() -> StepTime {
        var time = StepTime()
        time.expertCompute = (model.expertTime - lastExpertTime).seconds
        lastExpertTime = model.expertTime
        guard let group = model.shared?.group else { return time }
        let records = group.records.suffix { [lastSequence] in $0.sequence > lastSequence }
        for record in records {
            let wire = Double(record.arrived - record.began) * 1e-9
            if record.kind == .dispatch { time.dispatch += wire } else { time.combine += wire }
            time.exposed += record.exposedTime.seconds
            time.skew += min(record.exposedTime, record.skew).seconds
        }
        time.travel = StepTime.union(records.map { $0.began ..< $0.arrived })
        lastSequence = records.last?.sequence ?? lastSequence
        return time
    }
}

extension Array {
    /// The last elements, as many as satisfy a condition one after the other.
    fileprivate func suffix(_ isWanted: (Element) -> Bool) -> ArraySlice<Element> {
        self[(lastIndex { !isWanted($0) }.map { $0 + 1 } ?? startIndex)...]
    }
}

extension StepTime {
    /// Seconds that lie in at least one of these spans of nanoseconds.
    static func union(_ spans: [Range<UInt64>]) -> Double {
        var end: UInt64 = 0
        var sum: UInt64 = 0
        for span in spans.sorted(by: { $0.lowerBound < $1.lowerBound })
        where span.upperBound > end {
            sum += span.upperBound - max(end, span.lowerBound)
            end = span.upperBound
        }
        return Double(sum) * 1e-9
    }
}

extension Duration {
    /// The duration as a number of seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
