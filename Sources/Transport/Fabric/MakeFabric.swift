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
    // Also where no byte will take it: a name that is not here is a slip of the pen.
    if let device = configuration.device, configuration.transport != .rdma {
        try NetworkDevices.check(device)
    }
    let deadline = Deadline(configuration.joinLimit, "join", clock: configuration.clock)
    let control = ControlBlock(
        try Region(named: "control", byteCount: ControlBlock.byteCount),
        clock: configuration.clock)
    control.beat(at: configuration.clock.nanoseconds)
    control.set(.running)
    let ours = Hello(
        rank: configuration.rank, rankCount: configuration.rankCount,
        transport: configuration.transport.rawValue, process: getpid(),
        controlDescriptor: control.region.descriptor, node: nodeName(configuration),
        offersRDMA: offersRDMA(configuration))
    let blobs = try exchange.allGather(ours.encoded(), label: "join", deadline: deadline)
    var hellos: [Hello] = []
    for (index, blob) in blobs.enumerated() {
        let hello = try Hello(decoding: blob, from: Rank(rawValue: index))
        try hello.agree(with: ours, at: index)
        hellos.append(hello)
    }
    let members = try Members.build(from: hellos, configuration, own: control)
    let losses = Losses(names: configuration.names ?? [])
    let chosen = choose(configuration, hellos, members)
    let outside = EngineOutside(losses: losses, control: control, clock: configuration.clock)
    let engine: (any RemoteEngine)?
    do {
        engine = try makeEngine(chosen, members, outside)
        try connect(engine, members, exchange, losses, deadline: deadline)
    } catch {
        throw chosen.transport == configuration.transport
            ? error : error.advising("auto chose rdma; transport tcp goes by sockets")
    }
    control.region.closeDescriptor()
    let fabric = try RankFabric(
        configuration: chosen, control: control, members: members, exchange: exchange,
        engine: engine, losses: losses)
    do {
        try fabric.join(deadline: deadline)
    } catch {
        fabric.close()
        throw error
    }
    return fabric
}

/// Whether `auto` may take RDMA to other nodes: it works here, and nobody named network devices.
private func offersRDMA(_ configuration: FabricConfiguration) -> Bool {
    let namesDevices = unsafe configuration.device != nil || getenv("APUS_DEVICES") != nil
    return configuration.transport == .auto && !namesDevices && VerbsDevices.areReady()
}

/// Decides what was left open, once all ranks are known.
private func choose(
    _ configuration: FabricConfiguration, _ hellos: [Hello], _ members: [RankFabric.Member]
) -> FabricConfiguration {
    var chosen = configuration
    if hellos.allSatisfy(\.offersRDMA) { chosen.transport = .rdma }
    let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    if let threads = configuration.threadsPerRank,
        members.count(where: \.sharesCores) * threads <= cores
    {
        chosen.pollLimit = .milliseconds(1)
    }
    return chosen
}

/// What carries bytes to other nodes; nil where there are none, or only pretended ones.
private func makeEngine(
    _ configuration: FabricConfiguration, _ members: [RankFabric.Member],
    _ outside: EngineOutside
) throws(TransportError) -> (any RemoteEngine)? {
    if configuration.transport == .loopback || members.allSatisfy(\.storesReach) { return nil }
    return try ProgressEngine(
        makeCore(configuration, outside), configuration: configuration,
        callersProgress: !RankFabric.hasSpareCores(members), outside: outside)
}

private func makeCore(
    _ configuration: FabricConfiguration, _ outside: EngineOutside
) throws(TransportError) -> any EngineCore {
    switch configuration.transport {
    case .rdma: try VerbsCore(configuration: configuration, outside: outside)
    case .ucx:
        try UCXRails(
            rank: configuration.rank, rankCount: configuration.rankCount,
            devices: NetworkDevices.chosen(configuration), outside: outside)
    case .auto, .shm, .tcp, .loopback:
        try SocketCore(
            rank: configuration.rank, rankCount: configuration.rankCount,
            devices: NetworkDevices.chosen(configuration), outside: outside)
    }
}

/// Gives the engines each other's addresses. Also without one: all have mapped each other then.
private func connect(
    _ engine: (any RemoteEngine)?, _ members: [RankFabric.Member],
    _ exchange: any AddressExchange, _ losses: Losses, deadline: Deadline
) throws(TransportError) {
    let addresses = try exchange.allGather(
        try engine?.address() ?? [], label: "addresses", deadline: deadline)
    guard let engine else { return }
    var remote: [Rank: [UInt8]] = [:]
    for (index, address) in addresses.enumerated() where !members[index].storesReach {
        remote[Rank(rawValue: index)] = address
    }
    do {
        try engine.connect(remote, deadline: deadline)
    } catch {
        throw error.naming(losses.name)
    }
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
    let results = Results<any Fabric>(count: rankCount)
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

/// Ranks share memory when their node names are equal.
private func nodeName(_ configuration: FabricConfiguration) -> String {
    if let nodes = configuration.nodes {
        return "\(NodeIdentity.current())/node \(nodes[configuration.rank.rawValue])"
    }
    switch configuration.transport {
    case .auto, .shm: return NodeIdentity.current()
    case .loopback: return "\(NodeIdentity.current())/process \(getpid())"
    case .tcp, .ucx, .rdma: return "\(NodeIdentity.current())/\(configuration.rank)"
    }
}
