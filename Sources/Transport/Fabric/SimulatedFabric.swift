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
        fabrics = try makeLoopbackFabrics(rankCount: rankCount) {
            $0.clock = time.clock
            $0.nodes = Array(links.nodes.prefix(rankCount))
            $0.silenceLimit = silenceLimit
            $0.simulation = network
        }
        self.time = time
        self.network = network
        deaths = faults.deaths
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
            let (fabric, time) = (fabrics[rank.rawValue], time)
            killers.append(
                try FabricThread("apus-death", clock: time.clock) {
                    time.wait(until: begin + moment) { true }
                    fabric.vanish()
                })
        }
        let endings = try RankThreads.endings(fabrics, body)
        for killer in killers { killer.join() }
        return endings
    }

    /// Leaves, rank after rank.
    package func close() { for fabric in fabrics { fabric.close() } }

    /// Lets virtual time pass, as a thread that computes for so long does.
    package static func compute(_ duration: Duration, on fabric: any Fabric) {
        let end = fabric.clock.nanoseconds + duration.wholeNanoseconds
        while fabric.clock.nanoseconds < end {
            fabric.clock.pause(end - fabric.clock.nanoseconds)
        }
    }
}
