internal import Topology
internal import Transport

extension ExpertParallelGroup {
    static func check(
        _ placement: ExpertPlacement, nodes: [NodeID]
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
    static func agree(
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
