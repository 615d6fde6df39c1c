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
/// 1. A rank starts an operation on a buffer only after it waited for the combine that used the
///    buffer before.
/// 2. That wait ends only after every rank said that its outputs are there, which a rank does after
///    it last read tokens of that operation.
/// 3. Outputs are written after all dispatches of the operation have arrived, so every rank has
///    finished reading the outputs of the operation before.
///
/// Source: DeepEP's split of dispatch and combine; DeepSeek-V3 report, §3.2.2 and §3.4.
public final class ExpertParallelGroup {
    /// What the ranks agreed on.
    public let configuration: ExpertParallelConfiguration
    /// Which experts each rank holds, unless a dispatch says otherwise.
    public private(set) var placement: ExpertPlacement
    /// The records of the last operations, oldest first, at most `recordLimit`.
    public private(set) var records: [OperationRecord] = []
    /// What it has cost to leave them.
    public internal(set) var recordingTime = Duration.zero
    /// How many records are kept: a training step of many layers and micro-batches.
    public static let recordLimit = 4096
    /// Hears of every call of an exchange, before and after it.
    public var watcher: ((ExchangeEvent) -> Void)?

    let fabric: any Fabric
    let clock: FabricClock
    let window: Window
    let maps: [WindowMap]
    public var map: RankMap
    private var chooser: CopyChooser
    private var operations: [Operation] = []
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
        let nodes = fabric.ranks.map { fabric.node(of: $0) }
        try Self.check(placement, nodes: nodes)
        self.fabric = fabric
        clock = fabric.clock
        self.configuration = configuration
        self.placement = placement
        expertsPerRank = placement.largestLocalCount
        let relays = configuration.mode == .normal
        let expertsPerRank = expertsPerRank
        maps = fabric.ranks.map { rank in
            let map = RankMap(rank: rank.rawValue, nodes: nodes, relays: relays)
            return WindowMap(configuration, map: map, expertsPerRank: expertsPerRank)
        }
        map = RankMap(rank: fabric.rank.rawValue, nodes: nodes, relays: relays)
        chooser = try CopyChooser(placement: placement, rank: fabric.rank, nodes: nodes)
        let deadline = fabric.deadline(configuration.limit, "making the windows of experts")
        try Self.agree(fabric, configuration, placement, deadline: deadline)
        let own = maps[fabric.rank.rawValue]
        window = try fabric.makeWindow(
            name: name, byteCount: own.windowBytes,
            signalCount: Arrival.count(rankCount: fabric.rankCount),
            stagingByteCount: own.stagingBytes, deadline: deadline)
        operations = (0 ..< ExpertParallelConfiguration.bufferCount).map {
            Operation(group: self, buffer: $0)
        }
    }

    /// Bytes of window and staging memory that one rank may come to touch.
    public static func memoryByteCount(
        _ configuration: ExpertParallelConfiguration, placement: ExpertPlacement, nodes: [Int],
        rank: Rank
    ) -> (window: Int, staging: Int) {
        let relays = configuration.mode == .normal
        let map = RankMap(rank: rank.rawValue, nodes: nodes, relays: relays)
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
            routing, chooser: chooser, map: map, addsBeforeReturn: configuration.addsBeforeReturn)
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
        sequence += 1
        let operation = operations[Int(sequence % UInt64(operations.count))]
        guard operation.phase == .idle else {
            sequence -= 1
            throw CollectivesError.tooManyInFlight(limit: operations.count)
        }
        operation.prepare(layout, sequence: sequence)
        try operation.watched(.dispatch) { try operation.startDispatch(layout, encode: encode) }
        return DispatchInFlight(operation: operation)
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
        let operation = received.operation
        try operation.checkOutputs(outputs, scalars)
        try operation.watched(.combine) {
            operation.writeOutputs(outputs, scalars: scalars, weighting: weighting)
            try operation.startCombine(weighting: weighting)
        }
        return CombineInFlight(operation: operation)
    }

    /// Sends home what the caller wrote through `received.withOutput`.
    ///
    /// Nothing is copied: ranks of this node read the rows where they were written. Rows of a group
    /// that adds before return are sums that the caller weighed.
    public func combineWritten(
        _ received: consuming ReceivedTokens, weighting: Weighting = .gate
    ) throws -> CombineInFlight {
        let operation = received.operation
        try operation.watched(.combine) { try operation.startCombine(weighting: weighting) }
        return CombineInFlight(operation: operation)
    }

    /// Does, without waiting, what other ranks wait for from this one: a rank that computes long
    /// between the halves of an exchange calls it now and then.
    public func advance() throws { for operation in operations { try operation.advance() } }

    /// Whether bytes that this rank will wait for have not all arrived.
    public var isTravelling: Bool { operations.contains { $0.isTravelling } }

    /// Staging memory is written again without asking whether it was sent: the exchange that used
    /// it before has ended, so every byte of it has arrived. That is not so after a loss.
    func flushAfterLoss(_ deadline: Deadline) throws {
        guard maskings > flushedMaskings else { return }
        try window.flush(deadline: deadline)
        flushedMaskings = maskings
    }

    /// Goes on without a rank, with empty buffers. Collective among the survivors, who pass the
    /// same rank after an exchange failed because of it, or between exchanges.
    ///
    /// - Parameter placement: Where the experts are from now on, if the rank held the only copy of
    ///   one.
    public func mask(_ rank: Rank, placement: ExpertPlacement? = nil) throws {
        fabric.mask(rank)
        map.masked[rank.rawValue] = true
        maskings += 1
        let deadline = fabric.deadline(configuration.limit, "masking")
        let agreed = Arrival.agreementIndex(from: map.rank, rankCount: map.rankCount)
        for survivor in map.alive {
            try window.signal(
                agreed, of: Rank(rawValue: survivor),
                value: Arrival.agreement(masking: maskings, sequence: sequence))
        }
        // Survivors may have failed in different exchanges; the next one is new to all of them.
        for survivor in map.alive {
            let word = try window.wait(
                signal: Arrival.agreementIndex(from: survivor, rankCount: map.rankCount),
                atLeast: Arrival.agreement(masking: maskings, sequence: 0),
                from: Rank(rawValue: survivor), deadline: deadline)
            sequence = max(sequence, Arrival.agreedSequence(of: word))
        }
        for operation in operations { operation.reset() }
        try use(placement ?? self.placement)
    }

    /// Uses another placement from the next dispatch on. All ranks call it, between operations.
    public func use(_ placement: ExpertPlacement) throws {
        try Self.check(placement, nodes: map.nodes)
        guard placement.largestLocalCount <= expertsPerRank else {
            throw CollectivesError.limit(
                "experts on one rank", value: placement.largestLocalCount,
                range: 1 ... expertsPerRank,
                origin: "the group's first placement")
        }
        let masked = Set(map.masked.indices.filter { map.masked[$0] }.map { Rank(rawValue: $0) })
        chooser = try CopyChooser(
            placement: placement, rank: fabric.rank, nodes: map.nodes, masked: masked)
        self.placement = placement
    }

    /// Forgets the records that were kept so far, for a caller that reads each as it comes.
    public func forgetRecords() { records.removeAll(keepingCapacity: true) }

    func keep(_ record: OperationRecord) {
        if records.count == Self.recordLimit { records.removeFirst(Self.recordLimit / 2) }
        records.append(record)
    }
}

/// Whether a sum of expert outputs is weighted.
public enum Weighting: Sendable {
    /// By the gate weights of the routing.
    case gate
    /// Not at all: each row counts once, as in the backward of dispatch.
    case plain
}

extension ExpertParallelGroup {
    private static func check(
        _ placement: ExpertPlacement, nodes: [Int]
    ) throws(CollectivesError) {
        guard placement.rankCount == nodes.count else {
            throw .shape("placement", found: [placement.rankCount], expected: [nodes.count])
        }
        guard placement.largestLocalCount <= Entry.maximumExpertsPerRank else {
            throw .limit(
                "experts on one rank", value: placement.largestLocalCount,
                range: 1 ... Entry.maximumExpertsPerRank, origin: "16 bits of an entry")
        }
        for node in Set(nodes) {
            let count = nodes.count { $0 == node }
            guard count <= Entry.maximumRanksPerNode else {
                throw .limit(
                    "ranks of one node", value: count, range: 1 ... Entry.maximumRanksPerNode,
                    origin: "8 bits of an entry")
            }
        }
    }

    /// Compares configuration and placement with every other rank, field by field.
    private static func agree(
        _ fabric: any Fabric, _ configuration: ExpertParallelConfiguration,
        _ placement: ExpertPlacement, deadline: Deadline
    ) throws {
        var fields = configuration.agreement
        fields.append(("experts", "\(placement.expertCount)"))
        let text = placement.expertsByRank.map {
            $0.map { "\($0.rawValue)" }.joined(separator: " ")
        }
        fields.append(("placement", text.joined(separator: ", ")))
        let blob = Array(fields.map(\.value).joined(separator: "\n").utf8)
        let all = try fabric.allGather(blob, label: "expert-parallel group", deadline: deadline)
        for (rank, theirs) in all.enumerated() where theirs != blob && !theirs.isEmpty {
            let values = String(decoding: theirs, as: UTF8.self)
                .split(separator: "\n", omittingEmptySubsequences: false)
            for (index, field) in fields.enumerated() {
                let value = index < values.count ? String(values[index]) : "nothing"
                if value != field.value {
                    throw CollectivesError.disagreement(
                        Rank(rawValue: rank), subject: field.subject, theirs: value,
                        ours: field.value)
                }
            }
        }
    }
}
