extension NodeMap {
    /// Checks what a file says of switches and network: names, ports, and that every plane joins
    /// all nodes without a cycle of levels.
    func validateHardware(_ file: TopologyReader.Section) throws(TopologyError) {
        guard let hardware else { return }
        if let network = hardware.network {
            let needed = network.planes == .joined ? nodes.count * planes.count : nodes.count
            let most = network.countsOfOne.endpoints
            guard needed <= most else {
                throw file.fault(
                    "network",
                    "\(network.family.rawValue) has \(most) endpoints: the file needs \(needed)")
            }
        }
        guard !hardware.switches.isEmpty else { return }
        guard hardware.network == nil else {
            throw file.fault("switches", "and network both say how switches are wired: write one")
        }
        let names = hardware.switches.map(\.name)
        guard Set(names).count == names.count else {
            throw file.fault("switches", "two switches have one name")
        }
        for plane in planes {
            let fabric = SwitchGraph(
                plane: plane.name, switches: hardware.switches.filter { $0.plane == plane.name },
                nodes: nodes.map(\.name))
            if let fault = fabric.fault { throw file.fault("switches", fault) }
        }
        for one in hardware.switches where !planes.contains(where: { $0.name == one.plane }) {
            throw file.fault("switches", "\(one.name): there is no plane \"\(one.plane)\"")
        }
    }

    /// The most that a plane's switches slow its NICs down when all nodes send across all of
    /// them: rates of NICs below a switch over rates of links above it, at least 1.
    ///
    /// A network family is built without it.
    package func oversubscription(of plane: Plane) -> (ratio: Double, switchName: String?) {
        var worst: (ratio: Double, switchName: String?) = (1, nil)
        let all = (hardware?.switches ?? []).filter { $0.plane == plane.name }
        for one in all {
            guard let rate = plane.bandwidthBitsPerSecond, !one.above.isEmpty else { continue }
            let below = all.filter { $0.above.contains(one.name) }
                .reduce(Double(one.nodes.count) * rate) { $0 + ($1.upBitsPerSecond ?? rate) }
            let above = Double(one.above.count) * (one.upBitsPerSecond ?? rate)
            // Bytes for nodes below the same switch stay there.
            let outside = 1 - Double(one.nodes.count) / Double(max(1, nodes.count))
            let ratio = below * (one.nodes.isEmpty ? 1 : outside) / above
            if ratio > worst.ratio { worst = (ratio, one.name) }
        }
        return worst
    }
}
