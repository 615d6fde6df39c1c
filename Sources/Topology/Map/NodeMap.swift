/// The machines of a cluster and how they are wired: what a file in `topology/` says.
///
/// Every node has one network interface (NIC) on every plane; a plane is a switch that joins one
/// NIC of each node and nothing else.
public struct NodeMap: Hashable, Codable, Sendable {
    /// What the map is called; also the name of the lab built from it.
    ///
    /// Letters, digits and dashes.
    public var name: String
    /// One sentence for people.
    ///
    /// Optional.
    public var about: String?
    /// The machines, numbered in this order.
    public var nodes: [Node]
    /// The separate networks, numbered in this order.
    public var planes: [Plane]
    /// What the planner must know beyond that.
    ///
    /// Optional.
    package var hardware: Hardware?

    /// One machine.
    public struct Node: Hashable, Codable, Sendable {
        /// What the node is called in tables and logs.
        public var name: String
        /// How many ranks run on it.
        ///
        /// Default 1.
        public var ranks: Int

        /// Describes a machine.
        public init(name: String, ranks: Int = 1) {
            self.name = name
            self.ranks = ranks
        }
    }

    /// One network that joins one NIC of every node.
    public struct Plane: Hashable, Codable, Sendable {
        /// The NIC's name on every node.
        ///
        /// At most 15 bytes, the kernel's limit.
        public var name: String
        /// Rate of each NIC, each direction.
        ///
        /// Nil is as fast as the ground goes.
        public var bandwidthBitsPerSecond: Double?
        /// Largest packet, bytes.
        ///
        /// Default 9000.
        public var maximumPacketBytes: Int
        /// Share of the rate that an exchange reaches.
        ///
        /// Nil is all of it.
        package var efficiency: Double?
        /// Latency of one message.
        ///
        /// Nil is not known.
        package var latencySeconds: Double?

        /// Describes a network.
        public init(
            name: String, bandwidthBitsPerSecond: Double? = nil, maximumPacketBytes: Int = 9000
        ) {
            self.name = name
            self.bandwidthBitsPerSecond = bandwidthBitsPerSecond
            self.maximumPacketBytes = maximumPacketBytes
        }
    }

    /// Describes a cluster; nothing is checked before `validate`.
    public init(name: String, about: String? = nil, nodes: [Node], planes: [Plane]) {
        self.name = name
        self.about = about
        self.nodes = nodes
        self.planes = planes
    }
}

extension NodeMap {
    /// Ranks over all nodes.
    public var rankCount: Int { nodes.reduce(0) { $0 + $1.ranks } }

    /// The ranks of a node: ranks are dealt node after node.
    public func ranks(on node: NodeID) -> Range<Int> {
        let first = nodes[..<node.rawValue].reduce(0) { $0 + $1.ranks }
        return first ..< first + nodes[node.rawValue].ranks
    }

    /// The node of a rank.
    public func node(of rank: Rank) -> NodeID {
        var left = rank.rawValue
        for (index, node) in nodes.enumerated() {
            if left < node.ranks { return NodeID(rawValue: index) }
            left -= node.ranks
        }
        preconditionFailure("\(rank) is out of range: the map has \(rankCount) ranks")
    }

    /// The IPv4 address of a node's NIC on a plane: `10.(100 + plane).0.(node + 1)`.
    ///
    /// A lab's networks exist only inside its namespaces, so they cannot meet the host's.
    public func address(of node: NodeID, plane: Int) -> String {
        "10.\(100 + plane).0.\(node.rawValue + 1)"
    }

    /// Checks every field against its limit.
    ///
    /// - Throws: `TopologyError.file` with the field, the value and the limit.
    public func validate(path: String) throws(TopologyError) {
        func fail(_ reason: String) -> TopologyError { .file(path: path, reason: reason) }
        guard Self.isPlainName(name), name.utf8.count <= Self.longestName else {
            throw fail(
                "name \"\(name)\" must be 1 to \(Self.longestName) letters, digits or dashes")
        }
        guard (1 ... Self.mostNodes).contains(nodes.count) else {
            throw fail("\(nodes.count) nodes: from 1 to \(Self.mostNodes) can be described")
        }
        guard (1 ... Self.mostPlanes).contains(planes.count) else {
            throw fail("\(planes.count) planes: from 1 to \(Self.mostPlanes) can be addressed")
        }
        for node in nodes {
            guard Self.isPlainName(node.name) else {
                throw fail("node name \"\(node.name)\" must be letters, digits or dashes")
            }
            guard (0 ... Self.mostRanksPerNode).contains(node.ranks) else {
                throw fail(
                    "\(node.name) has \(node.ranks) ranks: from 0 to \(Self.mostRanksPerNode)")
            }
        }
        for plane in planes { try plane.validate(fail) }
        for (kind, names) in [("node", nodes.map(\.name)), ("plane", planes.map(\.name))]
        where Set(names).count != names.count {
            throw fail("two \(kind)s have one name")
        }
        guard rankCount > 0 else { throw fail("no node has a rank") }
    }

    /// Checks what a lab needs beyond `validate`: an address for every node.
    ///
    /// - Throws: `TopologyError.file` with the value and the limit.
    func validateAsLab(path: String) throws(TopologyError) {
        guard nodes.count <= Self.mostLabNodes else {
            throw .file(
                path: path,
                reason: "\(nodes.count) nodes: a lab has addresses for \(Self.mostLabNodes)")
        }
    }

    /// Namespace names are built from it; long ones make unreadable tables.
    static let longestName = 32
    /// More than the largest published fabric connects.
    static let mostNodes = 65536
    /// Hosts of a /24 network.
    static let mostLabNodes = 254
    /// Second bytes of an address above 100.
    static let mostPlanes = 64
    /// Far above any machine's cores; catches a slip of the keyboard.
    static let mostRanksPerNode = 1024

    static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("-")
            && name.utf8.allSatisfy {
                (UInt8(ascii: "a") ... UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "A") ... UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "0") ... UInt8(ascii: "9")).contains($0)
                    || $0 == UInt8(ascii: "-")
            }
    }
}

extension NodeMap.Plane {
    func validate(_ fail: (String) -> TopologyError) throws(TopologyError) {
        guard NodeMap.isPlainName(name), name.utf8.count <= 15, name != "lo" else {
            throw fail("plane name \"\(name)\" must be 1 to 15 letters, digits or dashes")
        }
        guard (576 ... 65535).contains(maximumPacketBytes) else {
            throw fail("\(name): maximumPacketBytes \(maximumPacketBytes) is not 576 to 65535")
        }
        guard let rate = bandwidthBitsPerSecond else { return }
        guard rate >= 1e5, rate <= 1e13 else {
            throw fail("\(name): bandwidthBitsPerSecond \(rate) is not 1e5 to 1e13")
        }
    }
}
