import Collectives
import Tensors
import Topology
import Transport

/// Computing of one simulated rank: it takes virtual time alone.
final class SimulatedComputing {
    let fabric: any Fabric
    /// How many times as long this rank computes as it should.
    private let factor: Double
    /// All that it has computed.
    private(set) var total: UInt64 = 0

    init(_ options: SimulationOptions, on fabric: any Fabric) {
        self.fabric = fabric
        factor = options.stragglers[fabric.rank] ?? 1
    }

    var now: UInt64 { fabric.clock.nanoseconds }

    /// Computes for a time.
    ///
    /// - Returns: What it took, in nanoseconds.
    @discardableResult
    func run(_ duration: Duration) -> UInt64 {
        let begin = now
        SimulatedFabric.compute(duration * factor, on: fabric)
        total += now - begin
        return now - begin
    }

    /// Waits for a moment at which all ranks begin.
    func wait(until moment: UInt64) throws {
        guard now < moment else {
            throw SimulationError.option(
                "ranks", value: "\(fabric.rankCount)",
                limit: "need more than \(SimulatedComputing.settling) of virtual time to join")
        }
        SimulatedFabric.compute(.nanoseconds(Int64(moment - now)), on: fabric)
    }

    /// From joining to the begin of the work: windows are made in microseconds of virtual time.
    static let settling = Duration.seconds(1)

    /// When the work begins, in nanoseconds of the clock, where the ranks have joined by now.
    static func start(after simulation: SimulatedFabric) -> UInt64 {
        simulation.time.nanoseconds + UInt64(settling / .nanoseconds(1))
    }
}

/// The EP group of a simulated rank, and what its exchanges have in common.
final class SimulatedGroup {
    let group: ExpertParallelGroup
    let computing: SimulatedComputing
    /// The ranks of the group, as the cluster numbers them.
    let members: [Rank]
    fileprivate let reads: NodeReads
    /// What was noted of the halves that ended, in order.
    fileprivate(set) var samples: [HalfSample] = []

    init(
        _ options: SimulationOptions, _ group: ExpertParallelGroup, members: [Rank],
        on fabric: any Fabric, computing: SimulatedComputing
    ) {
        self.group = group
        self.computing = computing
        self.members = members
        reads = NodeReads(options, group, fabric)
    }
}

/// What a rank noted of one half of an exchange; nanoseconds of virtual time.
struct HalfSample: Sendable {
    /// The block whose experts were asked.
    let block: Int
    let half: ExchangeRecord.Kind
    let began: UInt64
    let ended: UInt64
    /// What the rank computed before.
    let computed: UInt64
    /// When it only waited.
    let waits: [Range<UInt64>]
    let lastAwaited: Rank?

    var exposed: UInt64 { waits.reduce(0) { $0 + UInt64($1.count) } }

    /// As the diagnosis takes it.
    func sample(of rank: Rank, node: Int) -> ExchangeDiagnosis.Sample {
        ExchangeDiagnosis.Sample(
            rank: rank, node: node, began: began, computed: computed,
            nanoseconds: ended - began, lastAwaited: lastAwaited)
    }
}

/// One dispatch and combine of a simulated rank, by the calls that the product makes.
final class SimulatedTravel {
    private let shared: SimulatedGroup
    private let layout: DispatchLayout
    private let block: Int
    private var dispatching: DispatchInFlight?
    private var received: ReceivedTokens?
    private var combining: CombineInFlight?
    private var began: UInt64 = 0
    private var computed: UInt64 = 0
    private var nearOutputs = 0

    init(_ shared: SimulatedGroup, _ layout: DispatchLayout, block: Int) {
        self.shared = shared
        self.layout = layout
        self.block = block
    }

    private var configuration: ExpertParallelConfiguration { shared.group.configuration }

    /// Starts the dispatch.
    ///
    /// - Parameter computed: What the rank computed before, in nanoseconds.
    func start(_ tokens: Tensor, after computed: UInt64) throws {
        (began, self.computed) = (shared.computing.now, computed)
        dispatching = try shared.group.dispatch(tokens, layout: layout)
    }

    /// Waits for the tokens.
    func receive() throws {
        guard let inFlight = dispatching.take() else {
            preconditionFailure("receive without start")
        }
        let arrived = try inFlight.wait()
        let rows = shared.reads.rows(of: arrived)
        nearOutputs = shared.reads.outputs(of: arrived)
        received = consume arrived
        note(.dispatch, shared.reads.pass(rows, configuration.dispatchCodec, since: began))
    }

    /// Starts the combine of outputs that experts wrote where they go home from, as serving does.
    func sendWritten(after computed: UInt64) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        (began, self.computed) = (shared.computing.now, computed)
        // Another batch's rows may have come meanwhile, for this rank to carry.
        try shared.group.advance()
        combining = try shared.group.combineWritten(arrived)
    }

    /// Starts the combine of outputs with scalars, as training does.
    func send(_ weighting: Weighting, after computed: UInt64) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        (began, self.computed) = (shared.computing.now, computed)
        let count = arrived.rowCount
        combining = try shared.group.combine(
            Tensor(rows: count, columns: configuration.hiddenSize), for: arrived,
            weighting: weighting, scalars: Array(repeating: 0, count: count))
    }

    /// Waits for the outputs.
    func finish(addingInto rows: Tensor) throws {
        guard let inFlight = combining.take() else { preconditionFailure("finish without send") }
        try inFlight.wait(addingInto: rows)
        note(.combine, shared.reads.pass(nearOutputs, configuration.combineCodec, since: began))
    }

    private func note(_ half: ExchangeRecord.Kind, _ pass: Range<UInt64>?) {
        guard let record = shared.group.records.last else { return }
        let end = shared.computing.now
        shared.samples.append(
            HalfSample(
                block: block, half: half, began: began, ended: end, computed: computed,
                waits: record.waits + [pass].compactMap { $0 },
                lastAwaited: record.lastAwaited(in: end - began).map {
                    shared.members[$0.rawValue]
                }))
    }
}
