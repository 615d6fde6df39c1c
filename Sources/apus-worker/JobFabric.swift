import Cluster
import Logging
import Serving
import Topology
import Transport

/// Fabrics of ranks of a job, as its settings say.
struct JobFabric {
    let job: JobConfiguration
    let rank: Rank
    let link: ControlLink
    let log: Logger

    /// Joins ranks of the job.
    ///
    /// - Parameters:
    ///   - members: As the job numbers them, this rank among them, in the order of their numbers in
    ///     the fabric. Errors call them as the job does.
    ///   - epoch: The one of which they are the members.
    ///   - threadsPerRank: Threads that wait for each other in every step; nil where none do.
    ///   - limit: For the others to come; nil is the job's.
    func make(
        of members: [Rank], epoch: UInt64 = ExpertMap.firstEpoch, threadsPerRank: Int? = nil,
        limit: Duration? = nil
    ) throws -> any Fabric {
        let exchange = ControlExchange(link, rank: rank, members: members, epoch: epoch)
        var configuration = configuration(exchange, limit: limit, names: members)
        configuration.threadsPerRank = threadsPerRank
        return try makeFabric(configuration, exchange: exchange)
    }

    /// Joins a prefill rank and a decode rank.
    func make(_ order: LinkOrder, _ exchange: any AddressExchange) throws -> any Fabric {
        let fabric = try makeFabric(
            configuration(exchange, limit: Self.linkLimit, names: order.members),
            exchange: exchange)
        for place in fabric.ranks where place != fabric.rank {
            let peer = order.members[place.rawValue]
            log.info("\(peer) is reached by \(fabric.path(to: place)) for hand-overs")
        }
        return fabric
    }

    /// For two ranks that serve already to meet: prompts are computed elsewhere meanwhile.
    private static let linkLimit = Duration.seconds(10)

    private func configuration(
        _ exchange: any AddressExchange, limit: Duration?, names: [Rank]
    ) -> FabricConfiguration {
        var configuration = FabricConfiguration(
            rank: exchange.rank, rankCount: exchange.rankCount, transport: job.transport,
            device: job.device.isEmpty ? nil : job.device)
        configuration.joinLimit = limit ?? .seconds(job.deadlines.connectSeconds)
        configuration.silenceLimit = .seconds(job.deadlines.silenceSeconds)
        configuration.names = names
        return configuration
    }

    /// Joins the ranks of this rank's group that take part in an epoch, and logs how each is
    /// reached.
    func makeForGroup(
        in epoch: JobEpoch, threadsPerRank: Int? = nil, limit: Duration? = nil
    ) throws -> any Fabric {
        let (group, all) = job.groups.group(of: rank)
        let members = all.filter(epoch.living.contains)
        let fabric = try make(
            of: members, epoch: epoch.number, threadsPerRank: threadsPerRank, limit: limit)
        if job.groups.groups.count > 1 {
            log.info("group \(group.name) has \(members.count) ranks from \(members[0])")
        }
        for (number, member) in members.enumerated() where member != rank {
            log.info("\(member) is reached by \(fabric.path(to: Rank(rawValue: number)))")
        }
        return fabric
    }
}
