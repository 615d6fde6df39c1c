import Testing
import Topology

@testable import Transport

/// Puts over a simulated network: when they arrive, and what the survivors of a fault learn.
@Suite struct SimulatedFabricTests {
    /// Two nodes of one rank, 1 GB/s, 5 us.
    private static let yaml = """
        name: pair
        nodes: [{name: a}, {name: b}]
        planes: [{name: p, gigabitsPerSecond: 8, microseconds: 5}]
        """

    private static func fabric(
        faults: SimulatedFaults = SimulatedFaults()
    ) throws -> SimulatedFabric {
        let links = try LinkMap(NodeMap(yaml: yaml, path: "pair"), file: "pair", rankCount: 2)
        return try SimulatedFabric(links, rankCount: 2, faults: faults) { $0 &* 0x9e37_79b9 }
    }

    /// Rank 0 puts a megabyte to rank 1; returns the nanoseconds until its signal was seen.
    private static func put(_ fabric: any Fabric) throws -> UInt64 {
        let window = try fabric.makeWindow(
            name: "test", byteCount: 1 << 20, signalCount: 1, stagingByteCount: 1 << 20,
            deadline: fabric.deadline(.seconds(10), "set-up"))
        let start = fabric.clock.nanoseconds
        if fabric.rank == 0 {
            window.withStaging(0 ..< 8) { $0.storeBytes(of: 42, as: UInt64.self) }
            try window.put(0 ..< 1 << 20, to: 1, at: 0, signal: 0, value: 1)
            try window.flush(deadline: fabric.deadline(.seconds(60), "flush"))
        } else {
            try window.wait(
                signal: 0, atLeast: 1, from: 0, deadline: fabric.deadline(.seconds(60), "wait"))
            let word = window.withBytes(0 ..< 8) {
                unsafe $0.unsafeLoad(as: UInt64.self)
            }
            #expect(word == 42)
        }
        let passed = fabric.clock.nanoseconds - start
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "leave"))
        return passed
    }

    @Test func `a put takes its bytes over the rate, and the latency`() throws {
        let simulation = try Self.fabric()
        defer { simulation.close() }
        let times = try simulation.run(Self.put).map { try $0.get() }
        // 64 bytes of header, a byte per nanosecond.
        let expected = UInt64(1 << 20) + 64 + 5000
        #expect(times == [expected, expected])
    }

    /// Two leaves of two nodes and two spines; static routing sends both puts over one spine.
    private static func crossing(_ routing: LinkMap.Routing) throws -> [UInt64] {
        let map = try NodeMap(
            yaml: """
                name: leaves
                nodes: [{name: n, count: 4}]
                planes: [{name: p, gigabitsPerSecond: 8}]
                switches:
                  - {name: leaf0, plane: p, radix: 4, nodes: [n0, n1], above: [s0, s1]}
                  - {name: leaf1, plane: p, radix: 4, nodes: [n2, n3], above: [s0, s1]}
                  - {name: s0, plane: p, radix: 4}
                  - {name: s1, plane: p, radix: 4}
                """, path: "leaves")
        var links = try LinkMap(map, file: "leaves", rankCount: 4)
        links.routing = routing
        let simulation = try SimulatedFabric(links, rankCount: 4) { $0 &* 0x9e37_79b9 }
        defer { simulation.close() }
        return try simulation.run(Self.putAcross).map { try $0.get() }
    }

    /// Rank 0 puts a megabyte to rank 3 and rank 1 one to rank 2; returns the nanoseconds until a
    /// receiver saw the signal.
    private static func putAcross(_ fabric: any Fabric) throws -> UInt64 {
        let window = try fabric.makeWindow(
            name: "test", byteCount: 1 << 20, signalCount: 1, stagingByteCount: 1 << 20,
            deadline: fabric.deadline(.seconds(10), "set-up"))
        try fabric.barrier(deadline: fabric.deadline(.seconds(10), "begin"))
        let start = fabric.clock.nanoseconds
        let other = Rank(rawValue: 3 - fabric.rank.rawValue)
        if fabric.rank.rawValue < 2 {
            try window.put(0 ..< 1 << 20, to: other, at: 0, signal: 0, value: 1)
            try window.flush(deadline: fabric.deadline(.seconds(60), "flush"))
        } else {
            try window.wait(
                signal: 0, atLeast: 1, from: other,
                deadline: fabric.deadline(.seconds(60), "wait"))
        }
        let passed = fabric.clock.nanoseconds - start
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "leave"))
        return passed
    }

    @Test func `two puts that a hash sends over one spine take two with adaptive routing`() throws {
        let bytes = Double(1 << 20)
        for (routing, factor) in [(LinkMap.Routing.static, 2.0), (.adaptive, 1.0)] {
            for passed in try Self.crossing(routing)[2...] {
                // Headers, signals and heartbeats are below a thousandth of the bytes.
                #expect(abs(Double(passed) / bytes - factor) < 0.01, "\(routing): \(passed) ns")
            }
        }
    }

    @Test func `a cut link makes each rank lose the other`() throws {
        var faults = SimulatedFaults()
        faults.links = [.init(nanoseconds: 100_000, links: [0, 1, 2, 3], share: 0)]
        let simulation = try Self.fabric(faults: faults)
        defer { simulation.close() }
        for (rank, ending) in try simulation.run(Self.put).enumerated() {
            let error = #expect(throws: TransportError.self) { try ending.get() }
            #expect(error?.rank == Rank(rawValue: 1 - rank))
        }
    }

    @Test func `a paused link delays what takes it, and loses nobody`() throws {
        var faults = SimulatedFaults()
        faults.links = [
            .init(nanoseconds: 100_000, links: [0], share: 0),
            .init(nanoseconds: 900_000, links: [0], share: 1),
        ]
        let simulation = try Self.fabric(faults: faults)
        defer { simulation.close() }
        let times = try simulation.run(Self.put).map { try $0.get() }
        #expect(times[1] == UInt64(1 << 20) + 64 + 5000 + 800_000)
    }

    @Test func `a rank that dies is lost by the other, and its own calls end`() throws {
        var faults = SimulatedFaults()
        faults.deaths = [1: 100_000]
        let simulation = try Self.fabric(faults: faults)
        defer { simulation.close() }
        let endings = try simulation.run(Self.put)
        #expect(throws: TransportError.closed) { try endings[1].get() }
        let error = #expect(throws: TransportError.self) { try endings[0].get() }
        #expect(error?.rank == 1)
        #expect(error.map { "\($0)".hasSuffix("silent for 5.0 seconds") } == true)
    }
}
