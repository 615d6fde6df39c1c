import Topology
import Transport

/// The fabrics of one rank of a run.
struct TrainingFabrics: Sendable {
    /// All ranks.
    let fabric: any Fabric
    /// The ranks that share this rank's experts, if any do.
    let experts: (any Fabric)?
}

extension ParallelShape {
    /// Runs all ranks as threads of this process, and returns when all have ended.
    ///
    /// - Throws: The error of the lowest rank whose `body` threw.
    func runInThreads(
        _ body: @escaping @Sendable (TrainingFabrics) throws -> Void
    ) throws {
        let fabrics = try Self.loopback(rankCount)
        let experts = try expertFabrics()
        try RankThreads.run(fabrics) { fabric in
            let own = TrainingFabrics(
                fabric: fabric, experts: experts[fabric.rank.rawValue])
            // A rank that ends leaves, so that no other waits for it.
            defer {
                own.experts?.close()
                fabric.close()
            }
            try body(own)
            try fabric.barrier(deadline: fabric.deadline(.seconds(60), "the end"))
        }
    }

    private static func loopback(_ count: Int) throws -> [any Fabric] {
        try makeLoopbackFabrics(rankCount: count) { $0.silenceLimit = .seconds(60) }
    }

    /// By rank, the fabric of the ranks that share its experts.
    private func expertFabrics() throws -> [(any Fabric)?] {
        var result = [(any Fabric)?](repeating: nil, count: rankCount)
        guard sharesExperts, dataRanks > 1 else { return result }
        for place in 0 ..< pipelineRanks {
            for (data, fabric) in try Self.loopback(dataRanks).enumerated() {
                result[data * pipelineRanks + place] = fabric
            }
        }
        return result
    }
}
