package import Topology

/// What one rank may send over each link, from a topology file.
package struct LinkRates: Hashable, Sendable {
    /// A rank's share of its node's NICs, each direction.
    package var nicBytesPerSecond: Double
    /// Share of that which an exchange reaches.
    package var nicEfficiency: Double
    /// A rank's link to the other ranks of its node, each direction.
    package var nodeBytesPerSecond: Double
    /// Share of that which an exchange reaches.
    package var nodeEfficiency: Double
    /// What every dispatch, and every combine, costs beyond its bytes.
    package var fixedSeconds: Double
    /// How much switches slow NICs down when all send; 1 where they do not.
    package var oversubscription = 1.0
    /// The switch that does.
    package var narrowSwitch: String?

    package init(
        nicBytesPerSecond: Double, nicEfficiency: Double = 1, nodeBytesPerSecond: Double,
        nodeEfficiency: Double = 1, fixedSeconds: Double = 0
    ) {
        self.nicBytesPerSecond = nicBytesPerSecond
        self.nicEfficiency = nicEfficiency
        self.nodeBytesPerSecond = nodeBytesPerSecond
        self.nodeEfficiency = nodeEfficiency
        self.fixedSeconds = fixedSeconds
    }

    /// - Throws: `PlanError.topology` where the file lacks a rate.
    package init(_ map: NodeMap, file: String) throws(PlanError) {
        let ranksPerNode = Double(map.nodes.map(\.ranks).max() ?? 1)
        var bits = 0.0
        var reached = 0.0
        var narrow: (ratio: Double, switchName: String?) = (1, nil)
        for (index, plane) in map.planes.enumerated() {
            guard let rate = plane.bandwidthBitsPerSecond else {
                throw .topology(
                    file: file, field: "planes[\(index)].gigabitsPerSecond",
                    fact: "is missing: a plan needs the rate of \(plane.name)")
            }
            bits += rate
            reached += rate * (plane.efficiency ?? 1)
            let one = map.oversubscription(of: plane)
            if one.ratio > narrow.ratio { narrow = one }
        }
        let nic = bits / 8 / ranksPerNode
        let inside = map.hardware?.intranode
        if inside == nil && ranksPerNode > 1 {
            throw .topology(
                file: file, field: "intranode",
                fact: "is missing: a plan needs the rate between the \(Int(ranksPerNode)) ranks "
                    + "of a node")
        }
        self.init(
            nicBytesPerSecond: nic, nicEfficiency: reached / bits,
            nodeBytesPerSecond: inside?.bytesPerSecond ?? nic,
            nodeEfficiency: inside?.efficiency ?? 1,
            fixedSeconds: map.hardware?.exchangeSeconds ?? 0)
        oversubscription = narrow.ratio
        narrowSwitch = narrow.switchName
    }

    /// Rate of a NIC that an exchange reaches.
    package var reachedByNIC: Double { nicBytesPerSecond * nicEfficiency / oversubscription }

    /// Rate inside a node that an exchange reaches.
    package var reachedInNode: Double { nodeBytesPerSecond * nodeEfficiency }
}
