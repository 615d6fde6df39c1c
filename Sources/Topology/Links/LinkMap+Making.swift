extension LinkMap {
    /// Takes the links from a topology file.
    ///
    /// Rates are those that an exchange reaches (rate times efficiency). Inner links of a network
    /// family are left out, because a family stands for a fabric that is fully built.
    ///
    /// - Parameter rankCount: Ranks that take part: the first nodes that have so many.
    /// - Throws: `TopologyError.file` where the file lacks a rate or has fewer ranks.
    package init(_ whole: NodeMap, file: String, rankCount: Int) throws(TopologyError) {
        guard (1 ... whole.rankCount).contains(rankCount) else {
            throw .file(
                path: file,
                reason: "\(rankCount) ranks is out of range: \(whole.name) has "
                    + "\(whole.rankCount) (nodes)")
        }
        var map = whole
        map.nodes = Array(whole.nodes[...whole.node(of: Rank(rawValue: rankCount - 1)).rawValue])
        self.map = map
        nodes = map.nodes.indices.flatMap { Array(repeating: $0, count: map.nodes[$0].ranks) }
        places = map.nodes.flatMap { Array(0 ..< $0.ranks) }
        try addNodeLinks(file)
        for node in map.nodes {
            for plane in map.planes.indices {
                let rate = try rate(of: plane, file)
                nics.append(Int32(links.count))
                let name = "\(node.name).\(map.planes[plane].name)"
                links.append(Link(name: "\(name).out", bytesPerSecond: rate))
                links.append(Link(name: "\(name).in", bytesPerSecond: rate))
            }
        }
        for plane in map.planes.indices { try addSwitches(plane, file) }
    }

    private func rate(of plane: Int, _ file: String) throws(TopologyError) -> Double {
        guard let bits = map.planes[plane].bandwidthBitsPerSecond else {
            throw .file(
                path: file,
                reason: "planes[\(plane)].gigabitsPerSecond is missing: a simulation needs the "
                    + "rate of \(map.planes[plane].name)")
        }
        return bits / 8 * (map.planes[plane].efficiency ?? 1)
    }

    private mutating func addNodeLinks(_ file: String) throws(TopologyError) {
        guard map.nodes.contains(where: { $0.ranks > 1 }) else { return }
        guard let inside = map.hardware?.intranode else {
            throw .file(
                path: file,
                reason: "intranode is missing: a simulation needs the rate between ranks of a node")
        }
        let rate = inside.bytesPerSecond * inside.efficiency
        var all: [Int32] = []
        for rank in nodes.indices {
            for direction in ["out", "in"] {
                all.append(Int32(links.count))
                links.append(
                    Link(
                        name: "rank\(rank).\(inside.kind.rawValue).\(direction)",
                        bytesPerSecond: rate))
            }
        }
        nodeLinks = all
    }

    private mutating func addSwitches(_ plane: Int, _ file: String) throws(TopologyError) {
        let all = (map.hardware?.switches ?? []).filter { $0.plane == map.planes[plane].name }
        guard !all.isEmpty else { return switches.append(nil) }
        var routes = SwitchRoutes(all, nodes: map.nodes.map(\.name))
        let efficiency = map.planes[plane].efficiency ?? 1
        for (index, one) in all.enumerated() {
            var rate = try rate(of: plane, file)
            if let bits = one.upBitsPerSecond { rate = bits / 8 * efficiency }
            for name in one.above {
                guard let above = all.firstIndex(where: { $0.name == name }) else { continue }
                routes.join(index, above, by: Int32(links.count))
                links.append(Link(name: "\(one.name)-\(name)", bytesPerSecond: rate))
                links.append(Link(name: "\(name)-\(one.name)", bytesPerSecond: rate))
            }
        }
        switches.append(routes)
    }
}
