import Testing
import Topology

@Suite struct ExpertBalancingTests {
    /// The example of EPLB's README: two layers of 12 experts in 4 groups.
    static let loads: [[Double]] = [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]

    @Test(arguments: [
        (0, [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1], 1.208),
        (1, [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1], 1.242),
    ])
    func `the hierarchical placement of EPLB's example is reproduced`(
        layer: Int, expected: [Int], imbalance: Double
    ) throws {
        let balancing = ExpertBalancing(
            physicalExpertCount: 16, groupCount: 4, nodeCount: 2, rankCount: 8)
        let placement = try balancing.placement(loads: Self.loads[layer])
        #expect(PhysicalExperts(placement).logicalIndices == expected)
        let found = ExpertBalancing.imbalance(of: placement, loads: Self.loads[layer])
        #expect(abs(found - imbalance) < 0.0005)
    }

    @Test func `the loads of the example's ranks are those published`() throws {
        let balancing = ExpertBalancing(
            physicalExpertCount: 16, groupCount: 4, nodeCount: 2, rankCount: 8)
        let placement = try balancing.placement(loads: Self.loads[0])
        let loads = ExpertBalancing.rankLoads(of: placement, loads: Self.loads[0])
        #expect(loads == [121.5, 86.5, 125, 113, 147.5, 131.5, 156, 152])
    }

    @Test(arguments: [(0, 1.073), (1, 1.190)])
    func `the global policy balances the example better`(layer: Int, imbalance: Double) throws {
        let balancing = ExpertBalancing(
            physicalExpertCount: 16, groupCount: 1, nodeCount: 1, rankCount: 8)
        let placement = try balancing.placement(loads: Self.loads[layer])
        let found = ExpertBalancing.imbalance(of: placement, loads: Self.loads[layer])
        #expect(abs(found - imbalance) < 0.0005)
    }

    @Test func `groups that do not divide over nodes fall back to the global policy`() throws {
        let hierarchical = ExpertBalancing(
            physicalExpertCount: 18, groupCount: 4, nodeCount: 3, rankCount: 6)
        let global = ExpertBalancing(
            physicalExpertCount: 18, groupCount: 1, nodeCount: 1, rankCount: 6)
        #expect(
            try hierarchical.placement(loads: Self.loads[0])
                == global.placement(loads: Self.loads[0]))
    }

    @Test(arguments: [
        (ExpertBalancing(physicalExpertCount: 15, groupCount: 4, nodeCount: 2, rankCount: 8), "15"),
        (ExpertBalancing(physicalExpertCount: 8, groupCount: 4, nodeCount: 2, rankCount: 8), "8"),
        (ExpertBalancing(physicalExpertCount: 16, groupCount: 5, nodeCount: 1, rankCount: 8), "5"),
        (ExpertBalancing(physicalExpertCount: 16, groupCount: 4, nodeCount: 3, rankCount: 8), "3"),
        (
            ExpertBalancing(physicalExpertCount: 16, groupCount: 4, nodeCount: 0, rankCount: 8),
            ">= 1"
        ),
    ])
    func `counts that do not divide are refused with their values`(
        balancing: ExpertBalancing, value: String
    ) {
        let error = #expect(throws: TopologyError.self) {
            try balancing.placement(loads: Self.loads[0])
        }
        #expect("\(error!)".contains(value))
    }

    @Test func `an expert busier than a rank is copied to every rank and twice to none`() throws {
        let balancing = ExpertBalancing(
            physicalExpertCount: 8, groupCount: 1, nodeCount: 1, rankCount: 2)
        let placement = try balancing.placement(loads: [100, 1, 1, 1])
        #expect(PhysicalExperts(placement).copies(of: 0).count == 2)
        #expect(placement.physicalExpertCount < 8)
    }

    @Test func `a load that is no number is refused`() {
        let balancing = ExpertBalancing(
            physicalExpertCount: 4, groupCount: 1, nodeCount: 1, rankCount: 2)
        #expect(throws: TopologyError.self) { try balancing.placement(loads: [1, .nan, 2, 3]) }
    }
}
