public import Topology

/// The commands that build and remove a lab, as data.
///
/// Every node is a network namespace, one more namespace holds a bridge per plane, and a veth pair
/// joins each NIC to its bridge. Nothing is made outside these namespaces, so a lab cannot meet
/// the host's networks or another lab.
public struct LabPlan: Sendable {
    /// The machines and wires to build.
    public let map: NodeMap
    /// The random word every namespace of this lab carries as the alias of its `lo`.
    public let mark: String

    /// A plan for `map`, whose namespaces will carry `mark`.
    public init(map: NodeMap, mark: String) {
        self.map = map
        self.mark = mark
    }

    /// The namespace that holds the bridges.
    package var switchName: String { "apus-\(map.name)-switch" }

    /// The namespace of a node.
    public func namespace(of node: NodeID) -> String {
        "apus-\(map.name)-\(map.nodes[node.rawValue].name)"
    }

    /// Every namespace, the switch first.
    public var namespaces: [String] {
        [switchName] + map.nodes.indices.map { namespace(of: NodeID(rawValue: $0)) }
    }

    /// What builds the lab, in order.
    var building: [Command] {
        var commands: [Command] = []
        for name in namespaces {
            commands.append(Command("ip", "netns", "add", name))
            commands.append(Command("ip", "-n", name, "link", "set", "lo", "alias", mark))
            commands.append(Command("ip", "-n", name, "link", "set", "lo", "up"))
        }
        for (number, plane) in map.planes.enumerated() {
            let bridge = "bridge\(number)"
            commands.append(
                Command("ip", "-n", switchName, "link", "add", bridge, "type", "bridge"))
            commands.append(Command("ip", "-n", switchName, "link", "set", bridge, "up"))
            for node in map.nodes.indices {
                commands += joining(NodeID(rawValue: node), plane, number, bridge: bridge)
            }
        }
        return commands
    }

    /// One NIC: a veth pair from the node to the bridge, with address, packet size and rate.
    private func joining(
        _ node: NodeID, _ plane: NodeMap.Plane, _ number: Int, bridge: String
    ) -> [Command] {
        let space = namespace(of: node)
        let port = port(of: node, plane: number)
        let packet = "\(plane.maximumPacketBytes)"
        let address = map.address(of: node, plane: number) + "/24"
        var commands = [
            Command(
                "ip", "-n", switchName, "link", "add", port, "mtu", packet, "type", "veth",
                "peer", "name", plane.name, "mtu", packet, "netns", space),
            Command("ip", "-n", switchName, "link", "set", port, "master", bridge, "up"),
            Command("ip", "-n", space, "addr", "add", address, "dev", plane.name),
            Command("ip", "-n", space, "link", "set", plane.name, "up"),
        ]
        if let rate = plane.bandwidthBitsPerSecond {
            // Both ends are shaped: a NIC is limited in what it sends and in what it is sent.
            commands.append(shaping(plane.name, in: space, rate: rate))
            commands.append(shaping(port, in: switchName, rate: rate))
        }
        return commands
    }

    /// The bridge's end of a NIC.
    private func port(of node: NodeID, plane: Int) -> String { "p\(plane)n\(node.rawValue)" }

    /// What takes the wires out of a node, or puts them in again.
    func cutting(_ node: NodeID, _ isCut: Bool) -> [Command] {
        map.planes.indices.map {
            Command(
                "ip", "-n", switchName, "link", "set", port(of: node, plane: $0),
                isCut ? "down" : "up")
        }
    }

    private func shaping(_ device: String, in namespace: String, rate: Double) -> Command {
        Command(
            "tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate",
            "\(Int(rate))bit", "burst", "\(Self.burstBytes(rate: rate))", "latency",
            Self.queueLatency)
    }

    /// A bucket holds four of the largest segments the kernel builds (64 KiB), or half a
    /// millisecond of the rate: with less, a timer that fires late loses rate for good.
    ///
    /// Below 1 Gbit/s it holds a millisecond of the rate, and one or two of the largest packets: a
    /// bucket that fills while ranks compute carries what comes next for nothing. At 0.2 Gbit/s
    /// four segments were half of an all-to-all.
    static func burstBytes(rate: Double) -> Int {
        guard rate < 1e9 else { return max(4 * 65536, Int(rate / 8 * 0.0005)) }
        return max(16384, Int(rate / 8 * 0.001))
    }

    /// How long a packet may wait for its turn before it is dropped: a few round trips of TCP.
    static let queueLatency = "50ms"
}
