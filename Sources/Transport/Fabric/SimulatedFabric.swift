package import Topology

/// Ranks as threads of one process over a simulated network, in virtual time and with real bytes.
///
/// Make it, and use it, on one thread: that thread takes part in the time. Two fabrics of one map,
/// seed and faults have the same history, on any machine.
package final class SimulatedFabric {
    /// One fabric per rank, for `RankThreads`.
    package let fabrics: [any Fabric]
    /// The links, and what they carried.
    package let network: SimulatedNetwork
    /// The time of all ranks.
    package let time: SimulatedTime
    private let deaths: [Rank: UInt64]
    private let silenceLimit: Duration
    /// By rank, every fabric that it is in.
    private var all: [[any Fabric]]
    private var groupCount = 0

    /// Joins the ranks.
    ///
    /// - Parameters:
    ///   - links: Made for at least `rankCount` ranks.
    ///   - draw: Random bits for a count: the seed's.
    package init(
        _ links: LinkMap, rankCount: Int, faults: SimulatedFaults = SimulatedFaults(),
        silenceLimit: Duration = .seconds(5), draw: @escaping @Sendable (UInt64) -> UInt64
    ) throws(TransportError) {
        let time = SimulatedTime(draw: draw)
        let network = SimulatedNetwork(links, time: time, faults: faults, draw: draw)
        let ranks = (0 ..< rankCount).map { Rank(rawValue: $0) }
        fabrics = try Self.join(
            SimulatedMembers(network, number: 0, ranks: ranks), silenceLimit: silenceLimit)
        all = fabrics.map { [$0] }
        self.time = time
        self.network = network
        self.silenceLimit = silenceLimit
        deaths = faults.deaths
    }

    /// Joins some of the ranks in one more fabric, over the same links; before `run`.
    ///
    /// - Parameter ranks: In the order in which the new fabric numbers them. Errors call them as
    ///   the whole fabric does.
    /// - Returns: One fabric per rank, in that order. `close` and a rank's death end it as well.
    package func group(_ ranks: [Rank]) throws(TransportError) -> [any Fabric] {
        groupCount += 1
        let fabrics = try Self.join(
            SimulatedMembers(network, number: groupCount, ranks: ranks),
            silenceLimit: silenceLimit)
        for (rank, fabric) in zip(ranks, fabrics) { all[rank.rawValue].append(fabric) }
        return fabrics
    }

    private static func join(
        _ members: SimulatedMembers, silenceLimit: Duration
    ) throws(TransportError) -> [any Fabric] {
        try makeLoopbackFabrics(rankCount: members.ranks.count) {
            $0.clock = members.network.time.clock
            $0.nodes = members.ranks.map { members.network.links.nodes[$0.rawValue] }
            $0.names = members.ranks
            $0.silenceLimit = silenceLimit
            $0.simulation = members
        }
    }

    /// Runs `body` once per rank, each on a thread of this time, while the faults happen.
    ///
    /// - Returns: How each body ended, in the order of ranks. That of a rank that died threw.
    package func run<Value: Sendable>(
        _ body: @escaping @Sendable (any Fabric) throws -> Value
    ) throws(TransportError) -> [Result<Value, any Error>] {
        network.beginFaults()
        let begin = time.nanoseconds
        var killers: [FabricThread] = []
        for (rank, moment) in deaths.sorted(by: { $0.key < $1.key }) {
            let (dying, time) = (all[rank.rawValue], time)
            killers.append(
                try FabricThread("apus-death", clock: time.clock) {
                    time.wait(until: begin + moment) { true }
                    for fabric in dying { fabric.vanish() }
                })
        }
        let endings = try RankThreads.endings(fabrics, body)
        for killer in killers { killer.join() }
        return endings
    }

    /// Leaves, rank after rank.
    package func close() { for fabric in all.joined() { fabric.close() } }

    /// Lets virtual time pass, as a thread that computes for so long does.
    package static func compute(_ duration: Duration, on fabric: any Fabric) {
        guard let time = fabric.clock.time else {
            return fabric.clock.pause(duration.wholeNanoseconds)
        }
        let end = time.nanoseconds + duration.wholeNanoseconds
        while time.nanoseconds < end { time.wait(until: end) { true } }
    }
}
