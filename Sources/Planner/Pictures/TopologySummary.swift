package import Pipeline
package import Topology

/// What a topology file comes to, for people: a few lines and a picture.
package struct TopologySummary: Sendable {
    /// Nodes that a picture shows before it only counts them.
    private static let shownNodes = 8

    private let map: NodeMap

    package init(_ map: NodeMap) { self.map = map }

    /// Name and value of each line.
    package var lines: [(String, String)] {
        let ranksPerNode = map.nodes.map(\.ranks).max() ?? 0
        var lines = [
            ("name", map.name),
            ("nodes", "\(map.nodes.count), up to \(ranksPerNode) ranks on each"),
            ("ranks", "\(map.rankCount)"),
        ]
        if let about = map.about { lines.insert(("about", about), at: 1) }
        for plane in map.planes.prefix(Self.shownNodes) {
            lines.append((plane.name, Self.rate(plane)))
        }
        if map.planes.count > Self.shownNodes {
            lines.append(("planes", "\(map.planes.count) in all"))
        }
        lines += hardwareLines
        return lines
    }

    private static func rate(_ plane: NodeMap.Plane) -> String {
        guard let rate = plane.bandwidthBitsPerSecond else { return "no rate: as fast as it goes" }
        let share =
            plane.efficiency.map { ", an exchange reaches \(Figure.text($0, .share))" } ?? ""
        let latency = plane.latencySeconds.map { ", \(Figure.text($0, .seconds))" } ?? ""
        return "\(Figure.digits(rate / 1e9)) Gbit/s each way\(share)\(latency)"
    }

    private var hardwareLines: [(String, String)] {
        guard let hardware = map.hardware else { return [] }
        var lines: [(String, String)] = []
        if let machine = hardware.machine {
            let parts = [
                machine.kind, machine.sockets.map { "\($0) sockets" },
                machine.numaDomains.map { "\($0) NUMA domains" },
                machine.cores.map { "\($0) cores" },
            ]
            lines.append(("machine", parts.compactMap(\.self).joined(separator: ", ")))
        }
        if let one = hardware.processor {
            lines.append(
                (
                    "rank",
                    "\(one.kind), \(Figure.text(one.memoryBytes, .bytes)) at "
                        + "\(Figure.text(one.memoryBytesPerSecond, .bytesPerSecond)), bf16 "
                        + "\(Figure.text(one.bf16OperationsPerSecond, .operations))/s"
                ))
        }
        if let link = hardware.intranode {
            lines.append(
                (
                    "inside a node",
                    "\(link.kind.rawValue), \(Figure.text(link.bytesPerSecond, .bytesPerSecond)) "
                        + "per rank each way, an exchange reaches "
                        + Figure.text(link.efficiency, .share)
                ))
        }
        if let network = hardware.network {
            lines.append(
                (
                    "network",
                    "\(network.family.rawValue) of \(network.radix)-port switches, planes "
                        + "\(network.planes.rawValue); \(network.formula)"
                ))
            let counts = network.counts(planeCount: map.planes.count)
            lines.append(
                (
                    "fully built",
                    "\(counts.endpoints) endpoints, \(counts.switches) switches, "
                        + "\(counts.links) links between them; this file uses "
                        + "\(map.nodes.count * map.planes.count) endpoints"
                ))
        }
        for one in hardware.switches {
            let above = one.above.isEmpty ? "" : ", below \(one.above.joined(separator: " "))"
            lines.append(
                (
                    one.name,
                    "\(one.plane), \(one.radix) ports"
                        + (one.nodes.isEmpty ? "" : ", \(one.nodes.joined(separator: " "))") + above
                ))
        }
        if let cost = NetworkCost(map) {
            lines.append(
                (
                    "network's cost",
                    "\(Figure.text(cost.dollars, .dollars)) = \(cost.formula); "
                        + "\(Figure.text(cost.dollarsPerEndpoint, .dollars)) per endpoint"
                ))
        }
        return lines
    }

    /// The lines, names in a column.
    package var text: String {
        let width = lines.map(\.0.count).max() ?? 0
        return lines.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2) + value
        }.joined(separator: "\n") + "\n"
    }

    /// Networks above, nodes with their ranks below.
    package var diagram: Diagram {
        let notes = lines.filter { ["rank", "inside a node", "network"].contains($0.0) }
            .map { "\($0.0): \($0.1)" }
        var picture = Diagram(title: map.name, notes: notes)
        let shown = min(map.nodes.count, Self.shownNodes)
        let isCut = map.nodes.count > shown
        let pitch = 150.0
        let columns = shown + (isCut ? 1 : 0)
        let width = Double(columns) * pitch
        let levels = networkBoxes(width: width)
        picture.boxes = levels.boxes
        picture.wires = levels.wires
        let y = Double(levels.depth) * 90 + 30
        for index in 0 ..< columns {
            let isRest = isCut && index == shown
            let node = map.nodes[index]
            let lines =
                isRest
                ? ["\(map.nodes.count - shown) more nodes"] : [node.name, "\(node.ranks) ranks"]
            let number = picture.boxes.count
            picture.boxes.append(
                Diagram.Box(
                    .node, lines, x: Double(index) * pitch, y: y, width: pitch - 16, height: 44))
            picture.wires += (isRest ? levels.ofNode("") : levels.ofNode(node.name))
                .map { ($0, number) }
            guard !isRest else { continue }
            picture.boxes += ranks(of: node, x: Double(index) * pitch, y: y + 52, width: pitch - 16)
        }
        return picture
    }

    private func ranks(
        of node: NodeMap.Node, x: Double, y: Double, width: Double
    ) -> [Diagram.Box] {
        let perRow = 8
        let size = width / Double(perRow)
        return (0 ..< min(node.ranks, 80)).map { index in
            Diagram.Box(
                .rank, ["\(index)"], x: x + Double(index % perRow) * size,
                y: y + Double(index / perRow) * 20, width: size - 2, height: 18)
        }
    }

    /// Boxes of the networks, how deep they stand, and which boxes a node is wired to.
    private struct Levels {
        var boxes: [Diagram.Box] = []
        var wires: [(upper: Int, lower: Int)] = []
        var depth = 1
        var homes: [String: [Int]] = [:]
        var ofAll: [Int] = []

        func ofNode(_ name: String) -> [Int] { ofAll + (homes[name] ?? []) }
    }

    private func networkBoxes(width: Double) -> Levels {
        var levels = Levels()
        let switches = map.hardware?.switches ?? []
        guard switches.isEmpty else { return switchBoxes(switches, width: width) }
        let network = map.hardware?.network
        let isJoined = network?.planes == .joined
        let names = isJoined ? ["\(map.planes.count) planes"] : map.planes.map(\.name)
        let shown = min(names.count, Self.shownNodes)
        let pitch = width / Double(shown)
        for index in 0 ..< shown {
            let rate = Self.rate(map.planes[index]).prefix { $0 != "," }
            let counts = network?.countsOfOne
            let kind = network.map { "\($0.family.rawValue), \(counts?.switches ?? 0) switches" }
            levels.boxes.append(
                Diagram.Box(
                    .network, [names[index], String(rate)] + (kind.map { [$0] } ?? []),
                    x: Double(index) * pitch, y: 0, width: pitch - 16, height: 56))
            levels.ofAll.append(index)
        }
        return levels
    }

    private func switchBoxes(_ switches: [Hardware.Switch], width: Double) -> Levels {
        var levels = Levels()
        var depth: [String: Int] = [:]
        // The file's levels have no cycle, so each pass settles at least one level.
        for _ in switches {
            for one in switches {
                depth[one.name] = one.above.map { (depth[$0] ?? 0) + 1 }.max() ?? 0
            }
        }
        levels.depth = (depth.values.max() ?? 0) + 1
        var numbers: [String: Int] = [:]
        for level in 0 ..< levels.depth {
            let row = switches.filter { depth[$0.name] == level }
            let pitch = width / Double(max(1, row.count))
            for (index, one) in row.enumerated() {
                numbers[one.name] = levels.boxes.count
                for node in one.nodes { levels.homes[node, default: []].append(levels.boxes.count) }
                levels.boxes.append(
                    Diagram.Box(
                        .network, [one.name, "\(one.radix) ports, \(one.plane)"],
                        x: Double(index) * pitch, y: 90 * Double(level),
                        width: min(220, pitch - 16), height: 44))
            }
        }
        for one in switches {
            for above in one.above {
                guard let upper = numbers[above], let lower = numbers[one.name] else { continue }
                levels.wires.append((upper, lower))
            }
        }
        return levels
    }
}
