public import Tensors
public import Topology
public import Transport

/// The ranks that share a layer's routed experts, and the windows through which they exchange
/// tokens.
///
/// ```swift
/// let inFlight = try group.dispatch(tokens, routing: routing, in: map, layer: 3)
/// // Compute something else here: the tokens travel meanwhile.
/// let received = try inFlight.wait()
/// received.gather(into: inputs)
/// // Run this rank's experts over the rows of `inputs`.
/// let returning = try group.combine(outputs, for: received)
/// try returning.wait(addingInto: hidden)
/// ```
///
/// All ranks call in the same order with the same map, a rank without tokens too. Each dispatch is
/// followed by its combine; two such pairs may be open at a time. A group belongs to one thread at
/// a time.
///
/// A map of a higher epoch begins that epoch with its first dispatch, which is collective among the
/// ranks that live in it: exchanges that failed are forgotten, and ranks that are lost are masked.
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
    /// How many records are kept: a training step of many layers and micro-batches.
    package static let recordLimit = 4096

    let fabric: any Fabric
    let windows: GroupWindows
    /// The node of every rank.
    public let nodes: [NodeID]
    /// The least time that a wait for a rank polls before it sleeps (default zero: what the fabric
    /// finds right). For steps in which a rank waits for each product of another.
    public var polling = Duration.zero {
        didSet { for exchange in exchanges { exchange.polling = polling } }
    }
    private let exchanges: [Exchange]
    private let log: ExchangeLog
    /// Copies of one layer that the windows have room for on a rank.
    private let slotsPerRank: Int
    /// Of the map that the last layout was made for.
    private var routes: EpochRoutes
    /// The epoch of the last dispatch, and the ranks that it left out.
    private var epoch: UInt64
    private var masked: Set<Rank> = []
    private var sequence: UInt64 = 0
    /// Whether an exchange was abandoned since staging memory was flushed.
    private var mustFlush = false

    /// Makes the windows. Collective.
    ///
    /// - Parameters:
    ///   - map: The experts of every rank of the fabric, all of which live; the windows have room
    ///     for its slots.
    ///   - name: Names the windows in errors; the same on all ranks.
    /// - Throws: `CollectivesError.disagreement` if another rank's configuration or map differs;
    ///   `TransportError` if a rank does not come.
    public init(
        fabric: any Fabric, configuration: ExpertParallelConfiguration, map: ExpertMap,
        name: String = "experts"
    ) throws {
        try configuration.validate()
        let nodes = fabric.ranks.map { NodeID(rawValue: fabric.node(of: $0)) }
        try Self.check(map, nodes: nodes)
        guard map.lostRanks.isEmpty else {
            throw CollectivesError.shape(
                "living ranks", found: [map.livingRanks.count], expected: [fabric.rankCount])
        }
        self.fabric = fabric
        self.configuration = configuration
        self.nodes = nodes
        slotsPerRank = map.slotsPerRank
        epoch = map.epoch
        let relays = configuration.mode == .normal
        routes = EpochRoutes(map, rank: fabric.rank, nodes: nodes, relays: relays)
        let maps = PerRank(
            fabric.ranks.map { rank in
                WindowMap(
                    configuration, map: RankMap(rank: rank, nodes: nodes, relays: relays),
                    expertsPerRank: map.slotsPerRank)
            })
        let deadline = fabric.deadline(configuration.limit, "making the windows of experts")
        try Self.agree(fabric, configuration, map, deadline: deadline)
        let own = maps[fabric.rank]
        let window = try fabric.makeWindow(
            name: name, byteCount: own.windowBytes,
            signalCount: ArrivalSignal.count(rankCount: fabric.rankCount),
            stagingByteCount: own.stagingBytes, deadline: deadline)
        let windows = GroupWindows(
            rank: fabric.rank, window: window, maps: maps, configuration: configuration,
            clock: fabric.clock)
        self.windows = windows
        let log = ExchangeLog(limit: Self.recordLimit, nodes: nodes, rank: fabric.rank)
        self.log = log
        exchanges = (0 ..< ExpertParallelConfiguration.bufferCount).map { buffer in
            Exchange(windows, rankCount: fabric.rankCount, buffer: buffer, log: log)
        }
    }

    /// Bytes of window and staging memory that one rank may come to touch.
    public static func memoryByteCount(
        _ configuration: ExpertParallelConfiguration, map: ExpertMap, nodes: [NodeID], rank: Rank
    ) -> (window: Int, staging: Int) {
        let own = WindowMap(
            configuration,
            map: RankMap(rank: rank, nodes: nodes, relays: configuration.mode == .normal),
            expertsPerRank: map.slotsPerRank)
        return (own.windowBytes, own.stagingBytes)
    }

    /// Computes a layout that several dispatches of the same routing may use.
    ///
    /// - Parameters:
    ///   - map: Where the experts are, of this epoch or a later one.
    ///   - layer: The layer of the model whose experts the routing names.
    public func layout(
        for routing: Routing, in map: ExpertMap, layer: Int
    ) throws(CollectivesError) -> DispatchLayout {
        guard routing.topK == configuration.topK else {
            throw .shape("routing", found: [routing.topK], expected: [configuration.topK])
        }
        guard routing.tokenCount <= configuration.maximumTokensPerRank else {
            throw .tooManyTokens(
                routing.tokenCount, maximum: configuration.maximumTokensPerRank)
        }
        guard map.placements.indices.contains(layer) else {
            throw .limit(
                "layer", value: layer, range: 0 ... map.layerCount - 1, origin: "the expert map")
        }
        try routing.validate(expertCount: map.expertCount)
        // Comparing costs nothing where the same value is passed again.
        if routes.map != map { routes = try routes(of: map) }
        return DispatchLayout(
            routing, routes: routes, layer: layer,
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
    ///   - map: Where the experts are.
    ///   - layer: The layer of the model.
    public func dispatch(
        _ tokens: Tensor, routing: Routing, in map: ExpertMap, layer: Int
    ) throws -> DispatchInFlight {
        try dispatch(tokens, layout: layout(for: routing, in: map, layer: layer))
    }

    /// Sends tokens along a layout that was computed before.
    public func dispatch(_ tokens: Tensor, layout: DispatchLayout) throws -> DispatchInFlight {
        let codec = configuration.dispatchCodec
        return try start(layout, rows: tokens.rows, columns: tokens.columns) { token, bytes in
            codec.encode(tokens.row(token), into: &bytes)
        }
    }

    /// Sends tokens stored in f32, in bf16, or as they travel. bf16 is half of what there is to
    /// read, and a token stored as it travels is only copied.
    ///
    /// - Parameter tokens: `[tokens, hidden]`; not needed after the call.
    public func dispatch(
        _ tokens: EncodedRows, routing: Routing, in map: ExpertMap, layer: Int
    ) throws -> DispatchInFlight {
        try dispatch(tokens, layout: layout(for: routing, in: map, layer: layer))
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
        if layout.epoch != epoch { try begin(layout) }
        let exchange = exchanges[Int((sequence + 1) % UInt64(exchanges.count))]
        guard exchange.state == .idle else {
            throw CollectivesError.tooManyInFlight(limit: exchanges.count)
        }
        sequence += 1
        try flushIfNeeded("dispatch")
        try exchange.dispatch(layout, sequence: sequence, encode: encode)
        return DispatchInFlight(exchange: exchange)
    }

    /// Sends the outputs of this rank's experts home, and returns at once.
    ///
    /// - Parameters:
    ///   - outputs: One row per row of `received.gather`, in the same order.
    ///   - received: What the dispatch brought; spent.
    ///   - weighting: Whether the sum at the source weighs each expert by its gate weight.
    ///   - scalars: One number per row that goes home beside it, if the group carries scalars.
    public func combine(
        _ outputs: Tensor, for received: consuming ReceivedTokens, weighting: Weighting = .gate,
        scalars: [Float]? = nil
    ) throws -> CombineInFlight {
        let exchange = received.exchange
        try exchange.checkOutputs(outputs, scalars)
        try flushIfNeeded("combine")
        try exchange.combine(weighting: weighting) {
            exchange.writeOutputs(outputs, scalars: scalars, weighting: weighting)
        }
        return CombineInFlight(exchange: exchange)
    }

    /// Sends home what the caller wrote through `received.withRows` or `received.withOutput`.
    ///
    /// Nothing is copied: ranks of this node read the rows where they were written. Rows of a group
    /// that adds before return are sums that the caller weighed.
    public func combineWritten(
        _ received: consuming ReceivedTokens, weighting: Weighting = .gate
    ) throws -> CombineInFlight {
        let exchange = received.exchange
        try flushIfNeeded("combine")
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
    private func flushIfNeeded(_ phase: StaticString) throws(TransportError) {
        guard mustFlush else { return }
        try windows.window.flush(deadline: windows.deadline(phase))
        mustFlush = false
    }
}

// MARK: Epochs

extension ExpertParallelGroup {
    /// The tables of a map, which must fit the windows and not be of the past.
    private func routes(of map: ExpertMap) throws(CollectivesError) -> EpochRoutes {
        try Self.check(map, nodes: nodes)
        guard map.epoch >= epoch else { throw .staleEpoch(map.epoch, current: epoch) }
        guard map.epoch != routes.map.epoch else { throw .changedMap(epoch: map.epoch) }
        guard map.slotsPerRank <= slotsPerRank else {
            throw .limit(
                "experts on one rank", value: map.slotsPerRank, range: 1 ... slotsPerRank,
                origin: "the slots of the group's first map")
        }
        if let rank = masked.subtracting(map.lostRanks).min() { throw .rankReturned(rank) }
        return EpochRoutes(
            map, rank: fabric.rank, nodes: nodes, relays: configuration.mode == .normal)
    }

    /// Begins the epoch of a layout, together with the ranks that live in it.
    ///
    /// Ranks may have failed in different exchanges: each says how far it came, and the next
    /// exchange is new to all of them.
    private func begin(_ layout: DispatchLayout) throws {
        guard layout.epoch > epoch else {
            throw CollectivesError.staleEpoch(layout.epoch, current: epoch)
        }
        let ranks = layout.map
        for rank in ranks.masked where !masked.contains(rank) { fabric.mask(rank) }
        let window = windows.window
        let deadline = windows.deadline("beginning an epoch")
        func index(_ rank: Rank) -> Int {
            ArrivalSignal.epochIndex(from: rank, rankCount: ranks.rankCount)
        }
        let word = ArrivalSignal.epochWord(layout.epoch, sequence: sequence)
        for rank in ranks.alive { try window.signal(index(ranks.rank), of: rank, value: word) }
        for rank in ranks.alive {
            let word = try window.wait(
                signal: index(rank), atLeast: ArrivalSignal.epochWord(layout.epoch, sequence: 0),
                from: rank, deadline: deadline)
            let theirs = ArrivalSignal.epoch(of: word)
            guard theirs == layout.epoch else {
                throw CollectivesError.staleEpoch(layout.epoch, current: theirs)
            }
            sequence = max(sequence, ArrivalSignal.lastSequence(of: word))
        }
        for exchange in exchanges { exchange.reset() }
        masked = Set(ranks.masked)
        epoch = layout.epoch
        mustFlush = true
    }
}

// MARK: Records

extension ExpertParallelGroup {
    /// The records of the last dispatches and combines, oldest first, at most `recordLimit`.
    public var records: [ExchangeRecord] { log.records }
    /// What has travelled to each rank of the fabric since the group was made, in exchanges that
    /// ended; nothing to this rank itself.
    public var traffic: [RankTraffic] { log.traffic.values }
    /// What it has cost to leave them.
    public var recordingTime: Duration { log.recordingTime }
    /// Is called before and after every call of an exchange.
    public var watcher: ((ExchangeEvent) -> Void)? {
        get { log.watcher }
        set { log.watcher = newValue }
    }
    /// Forgets the records that were kept so far, for a caller that reads each as it comes.
    public func forgetRecords() { log.forget() }
}
