import Glibc
import Topology

/// Joins the ranks that `exchange` brings together, and returns when all are connected.
///
/// - Throws: `disagreement` naming a rank that speaks of another run; `unavailable` when the
///   transport or device does not exist here; `deadline` after `joinLimit`.
public func makeFabric(
    _ configuration: FabricConfiguration, exchange: any AddressExchange
) throws(TransportError) -> any Fabric {
    try configuration.validate()
    guard exchange.rank == configuration.rank, exchange.rankCount == configuration.rankCount else {
        throw .disagreement(
            exchange.rank, subject: "an exchange for",
            theirs: "\(exchange.rank) of \(exchange.rankCount)",
            ours: "\(configuration.rank) of \(configuration.rankCount)")
    }
    // Checked even if no byte will take the device: a name that is not here is a mistake.
    if let device = configuration.device, configuration.transport != .rdma {
        try NetworkDevices.check(device)
    }
    let deadline = Deadline(configuration.joinLimit, "join", clock: configuration.clock)
    let control = ControlBlock(
        try Region(named: "control", byteCount: ControlBlock.byteCount),
        clock: configuration.clock)
    control.beat(at: configuration.clock.nanoseconds)
    control.set(.running)
    let ours = RankHello(
        rank: configuration.rank, rankCount: configuration.rankCount,
        transport: configuration.transport.rawValue, process: getpid(),
        controlDescriptor: control.region.descriptor, node: RankFabric.nodeName(configuration),
        offersRDMA: RankFabric.offersRDMA(configuration))
    let blobs = try exchange.allGather(ours.encoded(), label: "join", deadline: deadline)
    var hellos: [RankHello] = []
    for (index, blob) in blobs.enumerated() {
        let hello = try RankHello(decoding: blob, from: Rank(rawValue: index))
        try hello.agree(with: ours, at: index)
        hellos.append(hello)
    }
    let table = try RankTable.build(from: hellos, configuration, own: control)
    let lost = LostRanks(names: configuration.names ?? [])
    let chosen = RankFabric.choose(configuration, hellos, table)
    let outside = EngineOutside(lostRanks: lost, control: control, clock: configuration.clock)
    let engine: ProgressEngine?
    do {
        engine = try RankFabric.makeEngine(chosen, table, outside)
        try RankFabric.connect(engine, table, exchange, lost, deadline: deadline)
    } catch {
        throw chosen.transport == configuration.transport
            ? error : error.advising("auto chose rdma; transport tcp goes by sockets")
    }
    control.region.closeDescriptor()
    let fabric = try RankFabric(
        configuration: chosen, control: control, table: table, exchange: exchange,
        engine: engine, lost: lost)
    do {
        try fabric.join(deadline: deadline)
    } catch {
        fabric.close()
        throw error
    }
    return fabric
}

/// Makes all ranks of a loopback fabric at once, for threads of this process.
public func makeLoopbackFabrics(
    rankCount: Int, configure: @Sendable (inout FabricConfiguration) -> Void = { _ in }
) throws(TransportError) -> [any Fabric] {
    let configurations = (0 ..< rankCount).map { index in
        var configuration = FabricConfiguration(
            rank: Rank(rawValue: index), rankCount: rankCount, transport: .loopback)
        configure(&configuration)
        return configuration
    }
    let rendezvous = InProcessRendezvous(
        rankCount: rankCount, clock: configurations.first?.clock ?? .system)
    let results = ThreadResults<any Fabric>(count: rankCount)
    var threads: [FabricThread] = []
    for (index, configuration) in configurations.enumerated() {
        threads.append(
            try FabricThread("apus-join", clock: configuration.clock) {
                results.store(index) { () throws(TransportError) in
                    try makeFabric(
                        configuration, exchange: rendezvous.member(configuration.rank))
                }
            })
    }
    for thread in threads { thread.join() }
    return try results.all()
}

extension RankFabric {
    /// Whether `auto` may take RDMA to other nodes: it works here, and no network devices are
    /// named.
    static func offersRDMA(_ configuration: FabricConfiguration) -> Bool {
        let namesDevices = unsafe configuration.device != nil || getenv("APUS_DEVICES") != nil
        return configuration.transport == .auto && !namesDevices && VerbsDevices.areReady()
    }

    /// Decides what the configuration left open, once all ranks are known.
    static func choose(
        _ configuration: FabricConfiguration, _ hellos: [RankHello], _ table: [RankTable.Entry]
    ) -> FabricConfiguration {
        var chosen = configuration
        if hellos.allSatisfy(\.offersRDMA) { chosen.transport = .rdma }
        let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        if let threads = configuration.threadsPerRank,
            table.count(where: \.sharesCores) * threads <= cores
        {
            chosen.pollLimit = .milliseconds(1)
        }
        return chosen
    }

    /// What carries bytes to other nodes; nil if there are none, or only pretended ones.
    static func makeEngine(
        _ configuration: FabricConfiguration, _ table: [RankTable.Entry],
        _ outside: EngineOutside
    ) throws(TransportError) -> ProgressEngine? {
        if table.allSatisfy(\.storesReach) { return nil }
        if let members = configuration.simulation {
            return try ProgressEngine(
                SimulatedCore(rank: configuration.rank, members: members, outside: outside),
                configuration: configuration, callersProgress: false, outside: outside)
        }
        if configuration.transport == .loopback { return nil }
        return try ProgressEngine(
            makeCore(configuration, outside), configuration: configuration,
            callersProgress: !RankFabric.hasSpareCores(table), outside: outside)
    }

    static func makeCore(
        _ configuration: FabricConfiguration, _ outside: EngineOutside
    ) throws(TransportError) -> any EngineCore {
        switch configuration.transport {
        case .rdma: try VerbsCore(configuration: configuration, outside: outside)
        case .ucx:
            try UCXCore(
                rank: configuration.rank, rankCount: configuration.rankCount,
                devices: NetworkDevices.chosen(configuration), outside: outside)
        case .auto, .shm, .tcp, .loopback:
            try SocketCore(
                rank: configuration.rank, rankCount: configuration.rankCount,
                devices: NetworkDevices.chosen(configuration), outside: outside)
        }
    }

    /// Gives the engines each other's addresses. Ranks without an engine take part as well, so that
    /// afterwards every rank has mapped the others.
    static func connect(
        _ engine: ProgressEngine?, _ table: [RankTable.Entry],
        _ exchange: any AddressExchange, _ lost: LostRanks, deadline: Deadline
    ) throws(TransportError) {
        let addresses = try exchange.allGather(
            try engine?.address() ?? [], label: "addresses", deadline: deadline)
        guard let engine else { return }
        var remote: [Rank: [UInt8]] = [:]
        for (index, address) in addresses.enumerated() where !table[index].storesReach {
            remote[Rank(rawValue: index)] = address
        }
        do {
            try engine.connect(remote, deadline: deadline)
        } catch {
            throw error.naming(lost.name)
        }
    }

    /// Ranks share memory when their node names are equal.
    static func nodeName(_ configuration: FabricConfiguration) -> String {
        if let nodes = configuration.nodes {
            return "\(NodeIdentity.current())/node \(nodes[configuration.rank.rawValue])"
        }
        switch configuration.transport {
        case .auto, .shm: return NodeIdentity.current()
        case .loopback: return "\(NodeIdentity.current())/process \(getpid())"
        case .tcp, .ucx, .rdma: return "\(NodeIdentity.current())/\(configuration.rank)"
        }
    }
}
