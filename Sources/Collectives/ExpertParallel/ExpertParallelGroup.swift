public import Tensors
public import Topology
public import Transport

/// The ranks that share a layer's routed experts, and the windows through which they exchange
/// tokens.
///
/// ```swift
/// let inFlight = try group.dispatch(tokens, routing: routing)
/// // Compute something else here: the tokens travel meanwhile.
/// let received = try inFlight.wait()
/// received.gather(into: inputs)
/// // Run this rank's experts over the rows of `inputs`.
/// let returning = try group.combine(outputs, for: received)
/// try returning.wait(addingInto: hidden)
/// ```
///
/// All ranks call in the same order, a rank without tokens too. Each dispatch is followed by its
/// combine; two such pairs may be open at a time. A group belongs to one thread at a time.
///
/// Invariants, which make the two buffers enough:
/// 1. A rank starts an exchange in a buffer only after it waited for the combine that used the
///    buffer before.
/// 2. That wait ends only after every rank said that its outputs are there, which a rank does after
///    it last read tokens of that exchange.
/// 3. Outputs are written after all dispatches of the exchange have arrived, so every rank has
///    finished reading the outputs of the exchange before.
///
/// Source: DeepEP's split of dispatch and combine; DeepSeek-V3 report, §3.2.2 and §3.4.
public final class ExpertParallelGroup {
    /// What the ranks agreed on.
    public let configuration: ExpertParallelConfiguration
    /// Which experts each rank holds, unless a dispatch says otherwise.
    public private(set) var placement: ExpertPlacement
    /// How many records are kept: a training step of many layers and micro-batches.
    public static let recordLimit = 4096

    let fabric: any Fabric
    let windows: GroupWindows
    private let exchanges: [Exchange]
    private let log = ExchangeLog(limit: ExpertParallelGroup.recordLimit)
    private var map: RankMap
    private var chooser: CopyChooser
    private var sequence: UInt64 = 0
    private var maskings: UInt64 = 0
    private var flushedMaskings: UInt64 = 0
    private let expertsPerRank: Int

    /// Makes the windows. Collective.
    ///
    /// - Parameters:
    ///   - placement: The experts of every rank of the fabric.
    ///   - name: Names the windows in errors; the same on all ranks.
    /// - Throws: `CollectivesError.disagreement` if another rank's configuration or placement
    ///   differs; `TransportError` if a rank does not come.
    public init(
        fabric: any Fabric, configuration: ExpertParallelConfiguration,
        placement: ExpertPlacement, name: String = "experts"
    ) throws {
        try configuration.validate()
        let nodes = fabric.ranks.map { NodeID(rawValue: fabric.node(of: $0)) }
        try Self.check(placement, nodes: nodes)
        self.fabric = fabric
        self.configuration = configuration
        self.placement = placement
        let expertsPerRank = placement.largestLocalCount
        self.expertsPerRank = expertsPerRank
        let relays = configuration.mode == .normal
        let maps = PerRank(
            fabric.ranks.map { rank in
                WindowMap(
                    configuration, map: RankMap(rank: rank, nodes: nodes, relays: relays),
                    expertsPerRank: expertsPerRank)
            })
        map = RankMap(rank: fabric.rank, nodes: nodes, relays: relays)
        chooser = try CopyChooser(placement: placement, rank: fabric.rank, nodes: nodes)
        let deadline = fabric.deadline(configuration.limit, "making the windows of experts")
        try Self.agree(fabric, configuration, placement, deadline: deadline)
        let own = maps[fabric.rank]
        let window = try fabric.makeWindow(
            name: name, byteCount: own.windowBytes,
            signalCount: ArrivalSignal.count(rankCount: fabric.rankCount),
            stagingByteCount: own.stagingBytes, deadline: deadline)
        let windows = GroupWindows(
            rank: fabric.rank, window: window, maps: maps, configuration: configuration,
            clock: fabric.clock)
        self.windows = windows
        exchanges = (0 ..< ExpertParallelConfiguration.bufferCount).map { [log] buffer in
            Exchange(windows, rankCount: fabric.rankCount, buffer: buffer, log: log)
        }
    }

    /// Bytes of window and staging memory that one rank may come to touch.
    public static func memoryByteCount(
        _ configuration: ExpertParallelConfiguration, placement: ExpertPlacement, nodes: [NodeID],
        rank: Rank
    ) -> (window: Int, staging: Int) {
        let relays = configuration.mode == .normal
        let map = RankMap(rank: rank, nodes: nodes, relays: relays)
        let own = WindowMap(
            configuration, map: map, expertsPerRank: placement.largestLocalCount)
        return (own.windowBytes, own.stagingBytes)
    }

    /// Routed experts of the model (`n_routed_experts`).
    public var expertCount: Int { placement.expertCount }

    /// The logical experts of this rank's copies, in local order: what the model loads.
    public var localExperts: [Int] { placement.experts(on: fabric.rank).map(\.rawValue) }

    /// Computes a layout that several dispatches of the same routing may use.
    public func layout(for routing: Routing) throws(CollectivesError) -> DispatchLayout {
        guard routing.topK == configuration.topK else {
            throw .shape("routing", found: [routing.topK], expected: [configuration.topK])
        }
        guard routing.tokenCount <= configuration.maximumTokensPerRank else {
            throw .tooManyTokens(
                routing.tokenCount, maximum: configuration.maximumTokensPerRank)
        }
        try routing.validate(expertCount: placement.expertCount)
        return DispatchLayout(
            routing, placement: placement, chooser: chooser, map: map,
            addsBeforeReturn: configuration.addsBeforeReturn)
    }

    /// Sends every token to the ranks that hold its top-k routed experts, and returns at once.
    ///
    /// Inside a node a token is encoded once, where the other ranks read it; to another node it
    /// travels once.
    ///
    /// - Parameters:
    ///   - tokens: `[tokens, hidden]`; not needed after the call.
    ///   - routing: Expert ids and gate weights, `[tokens, topK]`.
    public func dispatch(_ tokens: Tensor, routing: Routing) throws -> DispatchInFlight {
        try dispatch(tokens, layout: layout(for: routing))
    }

    /// Sends tokens along a layout that was computed before.
    public func dispatch(_ tokens: Tensor, layout: DispatchLayout) throws -> DispatchInFlight {
        let codec = configuration.dispatchCodec
        return try start(layout, rows: tokens.rows, columns: tokens.columns) { token, bytes in
            codec.encode(tokens.row(token), into: &bytes)
        }
    }

    /// Sends tokens that rest in f32, in bf16, or as they travel. bf16 is half of what there is to
    /// read, and a token that rests as it travels is only copied.
    ///
    /// - Parameter tokens: `[tokens, hidden]`; not needed after the call.
    public func dispatch(_ tokens: EncodedRows, routing: Routing) throws -> DispatchInFlight {
        try dispatch(tokens, layout: layout(for: routing))
    }

    /// Sends such tokens along a layout that was computed before.
    public func dispatch(_ tokens: EncodedRows, layout: DispatchLayout) throws -> DispatchInFlight {
        let codec = configuration.dispatchCodec
        guard codec.encodes(tokens.codec) else {
            throw CollectivesError.codec(tokens.codec.description, travels: codec.description)
        }
        return try start(layout, rows: tokens.rows, columns: tokens.columns) { token, bytes in
            codec.encode(
                tokens.row(token), as: tokens.codec, columns: tokens.columns, into: &bytes)
        }
    }

    @inline(__always)
    private func start(
        _ layout: DispatchLayout, rows: Int, columns: Int,
        encode: (Int, inout MutableRawSpan) -> Void
    ) throws -> DispatchInFlight {
        let shape = [layout.tokenCount, configuration.hiddenSize]
        guard rows == shape[0], columns == shape[1] || rows == 0 else {
            throw CollectivesError.shape("tokens", found: [rows, columns], expected: shape)
        }
        let exchange = exchanges[Int((sequence + 1) % UInt64(exchanges.count))]
        guard exchange.state == .idle else {
            throw CollectivesError.tooManyInFlight(limit: exchanges.count)
        }
        sequence += 1
        try flushAfterLoss("dispatch")
        try exchange.dispatch(layout, sequence: sequence, encode: encode)
        return DispatchInFlight(exchange: exchange)
    }

    /// Sends the outputs of this rank's experts home, and returns at once.
    ///
    /// - Parameters:
    ///   - outputs: One row per row of `received.gather`, in the same order.
    ///   - received: What the dispatch brought; spent.
    ///   - weighting: Whether the sum at home weighs each expert by its gate weight.
    ///   - scalars: One number per row that goes home beside it, if the group carries scalars.
    public func combine(
        _ outputs: Tensor, for received: consuming ReceivedTokens, weighting: Weighting = .gate,
        scalars: [Float]? = nil
    ) throws -> CombineInFlight {
        let exchange = received.exchange
        try exchange.checkOutputs(outputs, scalars)
        try flushAfterLoss("combine")
        try exchange.combine(weighting: weighting) {
            exchange.writeOutputs(outputs, scalars: scalars, weighting: weighting)
        }
        return CombineInFlight(exchange: exchange)
    }

    /// Sends home what the caller wrote through `received.withOutput`.
    ///
    /// Nothing is copied: ranks of this node read the rows where they were written. Rows of a group
    /// that adds before return are sums that the caller weighed.
    public func combineWritten(
        _ received: consuming ReceivedTokens, weighting: Weighting = .gate
    ) throws -> CombineInFlight {
        let exchange = received.exchange
        try flushAfterLoss("combine")
        try exchange.combine(weighting: weighting)
        return CombineInFlight(exchange: exchange)
    }

    /// Does, without waiting, what other ranks wait for from this one: a rank that computes long
    /// between the halves of an exchange calls it now and then.
    public func advance() throws { for exchange in exchanges { try exchange.advance() } }

    /// Whether bytes that this rank will wait for have not all arrived.
    public var isTravelling: Bool { exchanges.contains { $0.isTravelling } }

    /// Staging memory is written again without asking whether it was sent: the exchange that used
    /// it before has ended, so every byte of it has arrived. That is not so after a loss.
    private func flushAfterLoss(_ phase: StaticString) throws(TransportError) {
        guard maskings > flushedMaskings else { return }
        try windows.window.flush(deadline: windows.deadline(phase))
        flushedMaskings = maskings
    }

    /// Goes on without a rank, with empty buffers. Collective among the survivors, who pass the
    /// same rank after an exchange failed because of it, or between exchanges.
    ///
    /// - Parameter placement: Where the experts are from now on, if the rank held the only copy of
    ///   one.
    public func mask(_ rank: Rank, placement: ExpertPlacement? = nil) throws {
        fabric.mask(rank)
        let masked = Set(map.masked).union([rank])
        map = RankMap(
            rank: fabric.rank, nodes: map.nodes.values, relays: configuration.mode == .normal,
            masked: masked)
        maskings += 1
        let window = windows.window
        let deadline = windows.deadline("masking")
        let agreed = ArrivalSignal.agreementIndex(from: map.rank, rankCount: map.rankCount)
        for survivor in map.alive {
            try window.signal(
                agreed, of: survivor,
                value: ArrivalSignal.agreement(masking: maskings, sequence: sequence))
        }
        // Survivors may have failed in different exchanges; the next one is new to all of them.
        for survivor in map.alive {
            let word = try window.wait(
                signal: ArrivalSignal.agreementIndex(from: survivor, rankCount: map.rankCount),
                atLeast: ArrivalSignal.agreement(masking: maskings, sequence: 0),
                from: survivor, deadline: deadline)
            sequence = max(sequence, ArrivalSignal.agreedSequence(of: word))
        }
        for exchange in exchanges { exchange.reset() }
        try use(placement ?? self.placement)
    }

    /// Uses another placement from the next dispatch on. All ranks call it, between exchanges.
    public func use(_ placement: ExpertPlacement) throws {
        try Self.check(placement, nodes: map.nodes.values)
        guard placement.largestLocalCount <= expertsPerRank else {
            throw CollectivesError.limit(
                "experts on one rank", value: placement.largestLocalCount,
                range: 1 ... expertsPerRank,
                origin: "the group's first placement")
        }
        chooser = try CopyChooser(
            placement: placement, rank: fabric.rank, nodes: map.nodes.values,
            masked: Set(map.masked))
        self.placement = placement
    }

    /// The node of every rank.
    var nodes: [NodeID] { map.nodes.values }
    /// Who reaches whom, as the benchmark's oracle needs it.
    var rankMap: RankMap { map }
}

extension ExpertParallelGroup {
    /// The records of the last halves of exchanges, oldest first, at most `recordLimit`.
    public var records: [ExchangeRecord] { log.records }
    /// What it has cost to leave them.
    public var recordingTime: Duration { log.recordingTime }
    /// Hears of every call of an exchange, before and after it.
    public var watcher: ((ExchangeEvent) -> Void)? {
        get { log.watcher }
        set { log.watcher = newValue }
    }
    /// Forgets the records that were kept so far, for a caller that reads each as it comes.
    func forgetRecords() { log.forget() }
}
