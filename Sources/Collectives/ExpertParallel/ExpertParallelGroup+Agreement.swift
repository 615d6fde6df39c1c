internal import Topology
internal import Transport

extension ExpertParallelGroup {
    /// Refuses a map that the windows or the entries have no room for.
    static func check(_ map: ExpertMap, nodes: [NodeID]) throws(CollectivesError) {
        guard map.rankCount == nodes.count else {
            throw .shape("expert map", found: [map.rankCount], expected: [nodes.count])
        }
        guard map.slotsPerRank <= Entry.maximumExpertsPerRank else {
            throw .limit(
                "experts on one rank", value: map.slotsPerRank,
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

    /// Compares configuration and map with every other rank, field by field.
    static func agree(
        _ fabric: any Fabric, _ configuration: ExpertParallelConfiguration, _ map: ExpertMap,
        deadline: Deadline
    ) throws {
        let fields = configuration.agreement + map.agreement
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

extension ExpertMap {
    /// The fields as other ranks compare them, each with its name.
    ///
    /// Every rank is given those of all, so the copies of a layer are a fingerprint: some 20 bytes
    /// a layer, however many experts and ranks there are.
    var agreement: [(subject: String, value: String)] {
        let sizes = [
            ("experts", "\(expertCount)"),
            ("layers", "\(layerCount)"),
            ("epoch", "\(epoch)"),
            ("slots per rank", "\(slotsPerRank)"),
        ]
        return sizes
            + placements.enumerated().map { layer, placement in
                ("fingerprint of the copies of layer \(layer)", placement.fingerprint)
            }
    }
}
