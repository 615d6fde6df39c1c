extension Hardware {
    /// Reads the parts of a file that a lab does not need; nil where it has none of them.
    init?(_ file: TopologyReader.Section) throws(TopologyError) {
        machine = try Self.machine(file)
        processor = try Self.processor(file)
        intranode = try Self.intranode(file)
        network = try Self.network(file)
        exchangeSeconds = try file.number("exchangeMicroseconds", in: NodeMap.microseconds)
            .map { $0 / 1e6 }
        switches = try Self.switches(file)
        prices = try Self.prices(file)
        let isEmpty =
            machine == nil && processor == nil && intranode == nil && network == nil
            && switches.isEmpty && prices == nil && exchangeSeconds == nil
        if isEmpty { return nil }
    }

    /// Dollars that a part or an hour may cost: 0 is a gift, a billion a slip of the keyboard.
    private static let dollars = 0.0 ... 1e9
    /// Gigabytes and gigabytes per second that a memory may have.
    private static let gigabytes = 0.001 ... 1e6

    private static func machine(_ file: TopologyReader.Section) throws(TopologyError) -> Machine? {
        guard let part = try file.section("machine", known: NodeMap.known("machine")) else {
            return nil
        }
        return Machine(
            kind: try part.string("kind"), sockets: try part.count("sockets", in: 1 ... 64),
            numaDomains: try part.count("numaDomains", in: 1 ... 1024),
            cores: try part.count("cores", in: 1 ... 65536))
    }

    private static func processor(
        _ file: TopologyReader.Section
    ) throws(TopologyError) -> Processor? {
        guard let part = try file.section("processor", known: NodeMap.known("processor")) else {
            return nil
        }
        func needed(
            _ key: String, _ range: ClosedRange<Double>
        ) throws(TopologyError) -> Double {
            try part.required(key, part.number(key, in: range))
        }
        let teraflops = 0.0001 ... 1e6
        let kind = try part.required("kind", part.string("kind"))
        let memory = try needed("memoryGigabytes", gigabytes)
        let reading = try needed("memoryGigabytesPerSecond", gigabytes)
        let bf16 = try needed("bf16TeraflopsPerSecond", teraflops)
        return Processor(
            kind: kind, memoryBytes: memory * 1e9, memoryBytesPerSecond: reading * 1e9,
            bf16OperationsPerSecond: bf16 * 1e12,
            fp8OperationsPerSecond: 1e12
                * (try part.number("fp8TeraflopsPerSecond", in: teraflops) ?? bf16),
            computeEfficiency: try part.number("computeEfficiency", in: NodeMap.share) ?? 1,
            memoryEfficiency: try part.number("memoryEfficiency", in: NodeMap.share) ?? 1)
    }

    private static func intranode(
        _ file: TopologyReader.Section
    ) throws(TopologyError) -> IntranodeLink? {
        guard let part = try file.section("intranode", known: NodeMap.known("intranode")) else {
            return nil
        }
        return IntranodeLink(
            kind: try part.required("kind", part.choice("kind", IntranodeLink.Kind.self)),
            bytesPerSecond: 1e9
                * (try part.required(
                    "gigabytesPerSecond", part.number("gigabytesPerSecond", in: gigabytes))),
            efficiency: try part.number("efficiency", in: NodeMap.share) ?? 1,
            latencySeconds: (try part.number("microseconds", in: NodeMap.microseconds) ?? 0) / 1e6)
    }

    private static func network(
        _ file: TopologyReader.Section
    ) throws(TopologyError) -> Network? {
        guard let part = try file.section("network", known: NodeMap.known("network")) else {
            return nil
        }
        var network = Network(
            family: try part.required("family", part.choice("family", Network.Family.self)),
            radix: try part.required("radix", part.count("radix", in: 2 ... 4096)))
        network.planes = try part.choice("planes", Network.Planes.self) ?? .separate
        network.order = try part.count("order", in: 2 ... 1024)
        network.groups = try part.count("groups", in: 1 ... 65536)
        network.switchesPerGroup = try part.count("switchesPerGroup", in: 1 ... 4096)
        network.endpointsPerSwitch = try part.count("endpointsPerSwitch", in: 1 ... 4096)
        network.globalLinksPerSwitch = try part.count("globalLinksPerSwitch", in: 1 ... 4096)
        if let fault = network.fault { throw part.fault(fault.key, fault.fact) }
        return network
    }

    private static func switches(_ file: TopologyReader.Section) throws(TopologyError) -> [Switch] {
        var switches: [Switch] = []
        for part in try file.sections("switches", known: NodeMap.known("switches")) ?? [] {
            switches.append(
                Switch(
                    name: try part.required("name", part.string("name")),
                    plane: try part.required("plane", part.string("plane")),
                    radix: try part.required("radix", part.count("radix", in: 2 ... 4096)),
                    nodes: try part.strings("nodes"), above: try part.strings("above"),
                    upBitsPerSecond: try part.number("upGigabitsPerSecond", in: NodeMap.gigabits)
                        .map { $0 * 1e9 }))
        }
        return switches
    }

    private static func prices(_ file: TopologyReader.Section) throws(TopologyError) -> Prices? {
        guard let part = try file.section("prices", known: NodeMap.known("prices")) else {
            return nil
        }
        return Prices(
            switchDollars: try part.number("switchDollars", in: dollars),
            linkDollars: try part.number("linkDollars", in: dollars),
            endpointDollars: try part.number("endpointDollars", in: dollars),
            rankHourDollars: try part.number("rankHourDollars", in: dollars))
    }
}
