extension NodeMap {
    /// Reads a file of `topology/` and checks it.
    ///
    /// - Throws: `TopologyError.file` when it is not YAML, has an unknown key, or fails `validate`.
    public init(contentsOf path: String) throws(TopologyError) {
        let text: String
        do throws(InputError) {
            text = try InputFile.text(of: path)
        } catch {
            throw .file(path: path, reason: "\(error)")
        }
        try self.init(yaml: text, path: path)
    }

    /// Reads a file of `topology/` and checks that a lab can be built from it.
    ///
    /// - Throws: `TopologyError.file` as above, or when it has more nodes than a lab has addresses.
    public init(lab path: String) throws(TopologyError) {
        try self.init(contentsOf: path)
        try validateAsLab(path: path)
    }

    /// Reads the text of a topology file; `path` is only for messages.
    public init(yaml: String, path: String) throws(TopologyError) {
        let file = try TopologyReader.root(yaml: yaml, path: path, known: Self.known(""))
        self.init(
            name: try file.required("name", file.string("name")),
            about: try file.string("about"), nodes: try Self.nodes(file),
            planes: try Self.planes(file))
        hardware = try Hardware(file)
        try validate(path: path)
        try validateHardware(file)
    }

    /// What a file's keys may be, by the part they stand in.
    static let knownKeys: [String: Set<String>] = [
        "": [
            "name", "about", "nodes", "planes", "machine", "processor", "intranode", "network",
            "switches", "prices", "exchangeMicroseconds",
        ],
        "nodes": ["name", "ranks", "count"],
        "planes": [
            "name", "gigabitsPerSecond", "maximumPacketBytes", "efficiency", "microseconds",
        ],
        "machine": ["kind", "sockets", "numaDomains", "cores"],
        "processor": [
            "kind", "memoryGigabytes", "memoryGigabytesPerSecond", "bf16TeraflopsPerSecond",
            "fp8TeraflopsPerSecond", "computeEfficiency", "memoryEfficiency",
        ],
        "intranode": ["kind", "gigabytesPerSecond", "efficiency", "microseconds"],
        "network": [
            "family", "radix", "planes", "order", "groups", "switchesPerGroup",
            "endpointsPerSwitch", "globalLinksPerSwitch",
        ],
        "switches": ["name", "plane", "radix", "nodes", "above", "upGigabitsPerSecond"],
        "prices": ["switchDollars", "linkDollars", "endpointDollars", "rankHourDollars"],
    ]

    static func known(_ part: String) -> Set<String> { knownKeys[part] ?? [] }

    /// Gbit/s that a file may give a link.
    static let gigabits = 0.0001 ... 10000.0
    /// A share of a rate: more than nothing, and at most all.
    static let share = 0.01 ... 1.0
    /// Microseconds that a message or an exchange may take.
    static let microseconds = 0.0 ... 1e6

    private static func nodes(_ file: TopologyReader.Section) throws(TopologyError) -> [Node] {
        let written = try file.required("nodes", file.sections("nodes", known: known("nodes")))
        var nodes: [Node] = []
        for entry in written {
            let name = try entry.required("name", entry.string("name"))
            let ranks = try entry.count("ranks", in: 0 ... mostRanksPerNode) ?? 1
            guard let count = try entry.count("count", in: 1 ... mostNodes) else {
                nodes.append(Node(name: name, ranks: ranks))
                continue
            }
            guard nodes.count + count <= mostNodes else {
                throw entry.fault(
                    "count", "\(count) makes \(nodes.count + count) nodes: at most \(mostNodes)")
            }
            nodes += (0 ..< count).map { Node(name: "\(name)\($0)", ranks: ranks) }
        }
        return nodes
    }

    private static func planes(_ file: TopologyReader.Section) throws(TopologyError) -> [Plane] {
        let written = try file.required("planes", file.sections("planes", known: known("planes")))
        var planes: [Plane] = []
        for entry in written {
            var plane = Plane(
                name: try entry.required("name", entry.string("name")),
                bandwidthBitsPerSecond: try entry.number("gigabitsPerSecond", in: gigabits)
                    .map { $0 * 1e9 },
                maximumPacketBytes: try entry.count("maximumPacketBytes", in: 576 ... 65535)
                    ?? 9000)
            plane.efficiency = try entry.number("efficiency", in: share)
            plane.latencySeconds = try entry.number("microseconds", in: microseconds)
                .map { $0 / 1e6 }
            planes.append(plane)
        }
        return planes
    }
}
