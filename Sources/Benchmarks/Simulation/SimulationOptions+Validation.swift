import Collectives
import Planner
package import Topology

/// Why a simulation cannot begin: what the user gave, in one line.
package enum SimulationError: Error, Hashable, CustomStringConvertible {
    /// An option's value lies outside its limit.
    case option(String, value: String, limit: String)

    /// The fact, the value and the limit.
    package var description: String {
        switch self {
        case .option(let name, let value, let limit): "--\(name) \(value): \(limit)"
        }
    }
}

extension SimulationError: ProgramError {
    /// Bad input.
    package var exitStatus: ExitStatus { .badInput }
}

extension SimulationOptions {
    /// Checks what was given against the topology file, and makes its links.
    package func links() throws -> LinkMap {
        try check()
        var links = try LinkMap(map, file: file, rankCount: rankCount)
        links.routing = networkRouting
        for (name, share) in slowLinks.sorted(by: { $0.key < $1.key }) {
            links.scale(try index(of: name, in: links, option: "slow"), by: share)
        }
        return links
    }

    /// Checks the count from which all others follow.
    func checkRanks() throws {
        try limit("ranks", rankCount, 1 ... min(map.rankCount, Self.mostRanks), "\(map.name)")
    }

    /// Checks the count of ranks that are threads.
    func checkRanksOfBytes() throws {
        try limit("ranks", rankCount, 1 ... Self.mostRanksOfBytes, "ranks that move bytes")
    }

    /// Checks the experts, which other limits count.
    func checkExperts() throws {
        try limit("experts", expertCount, 1 ... RoutingGenerator.maximumExpertCount, "routing")
    }

    /// Checks what windows and rows take of the machine's memory.
    ///
    /// - Parameters:
    ///   - name: The option that sets the rows of a rank, and its value.
    ///   - bytesPerRank: What each rank touches.
    func checkMemory(_ name: String, _ value: Int, bytesPerRank: Double) throws {
        let bytes = Double(rankCount) * bytesPerRank
        guard bytes > Self.mostBytes else { return }
        let amount = bytes < 0x1p63 ? Figure.text(bytes, .bytes) : "over 2^63 B"
        throw SimulationError.option(
            name, value: "\(value)",
            limit: "\(rankCount) ranks would touch \(amount) of memory, as real bytes move; the"
                + " limit is \(Figure.text(Self.mostBytes, .bytes)): take fewer tokens, or a"
                + " smaller --hidden")
    }

    private func check() throws {
        try checkRanks()
        try limit("tokens", tokenCount, 1 ... 1 << 17, "tokens of one rank")
        try checkExperts()
        try limit("groups", expertGroups, 1 ... expertCount, "experts")
        try limit("topk", topK, 1 ... expertCount, "experts")
        try limit("top-groups", topGroups, 1 ... expertGroups, "groups of experts")
        guard expertCount % expertGroups == 0,
            topGroups * (expertCount / expertGroups) >= topK
        else {
            throw SimulationError.option(
                "groups", value: "\(expertGroups)",
                limit: "must divide \(expertCount) experts, and leave a token \(topK) experts")
        }
        try limit("ep", chosenGroupSize, 1 ... min(rankCount, expertCount), "ranks, experts")
        guard rankCount % chosenGroupSize == 0 else {
            throw SimulationError.option(
                "ep", value: "\(chosenGroupSize)", limit: "does not divide \(rankCount) ranks")
        }
        for (name, ranks) in [
            ("kill", Array(kills.keys)), ("pause", Array(pauses.keys)),
            ("straggler", Array(stragglers.keys)),
        ] {
            for rank in ranks.sorted() where !(0 ..< rankCount).contains(rank.rawValue) {
                throw SimulationError.option(
                    name, value: "\(rank.rawValue)",
                    limit: "no such rank: the ranks are 0 to \(rankCount - 1) (--ranks)")
            }
        }
        if !stragglers.isEmpty, compute <= .zero {
            throw SimulationError.option(
                "straggler", value: "\(stragglers.keys.min()?.rawValue ?? 0)",
                limit: "needs --compute, the time that the others compute")
        }
        guard jitter * 2 < silenceLimit else {
            throw SimulationError.option(
                "jitter", value: "\(jitter)",
                limit: "must be below half of the silence (\(silenceLimit)) that loses a rank")
        }
        let longest = compute * (stragglers.values.max() ?? 1)
        guard longest <= Self.longestCompute else {
            throw SimulationError.option(
                "compute", value: "\(longest)",
                limit: "with the slowest straggler it is at most \(Self.longestCompute): ranks send"
                    + " heartbeats meanwhile")
        }
        try checkDetail()
        try configuration.validate()
    }

    /// Far beyond what a layer computes.
    private static let longestCompute = Duration.seconds(10)

    private func checkDetail() throws {
        switch chosenDetail {
        case .bytes:
            try checkRanksOfBytes()
            guard chosenGroupSize == rankCount || !isOneGroup else {
                throw SimulationError.option(
                    "ep", value: "\(chosenGroupSize)",
                    limit: "--detail bytes makes one group of all \(rankCount) ranks")
            }
        case .flows:
            for (name, isGiven) in [
                ("kill", !kills.isEmpty), ("cut", !cuts.isEmpty), ("pause", !pauses.isEmpty),
                ("jitter", jitter > .zero),
            ] where isGiven {
                throw SimulationError.option(
                    name, value: "with --detail flows",
                    limit: "needs --detail bytes, which goes to \(Self.mostRanksOfBytes) ranks")
            }
        }
    }

    func limit(
        _ name: String, _ value: Int, _ range: ClosedRange<Int>, _ origin: String
    ) throws {
        guard !range.contains(value) else { return }
        throw SimulationError.option(
            name, value: "\(value)",
            limit: "is not \(range.lowerBound) to \(range.upperBound) (\(origin))")
    }

    /// The number of a link that an option names.
    func index(of name: String, in links: LinkMap, option: String) throws -> Int {
        if let index = links.index(of: name) {
            guard chosenDetail == .flows || !links.isInsideNode(index) else {
                throw SimulationError.option(
                    option, value: name,
                    limit: "needs --detail flows: ranks of a node read each other's memory, which"
                        + " --detail bytes does not send over this link")
            }
            return index
        }
        let first = links.links.first?.name ?? "none"
        throw SimulationError.option(
            option, value: name,
            limit: "no such link among \(links.links.count), as \(first) "
                + "(apus simulate links --topology \(file))")
    }
}
