import Testing

@testable import Topology

@Suite struct ExitStatusTests {
    @Test func `every status reads back from its number`() {
        let all: [Topology.ExitStatus] = [
            .done, .failed, .badInput, .lost, .signal(2), .signal(64),
        ]
        #expect(all.map(\.code) == [0, 1, 2, 3, 130, 192])
        #expect(all.map { Topology.ExitStatus(code: $0.code) } == all)
    }

    @Test(arguments: [-1, 4, 64, 128, 193, 255] as [Int32])
    func `a number that no program of ours ends with is none`(code: Int32) {
        #expect(Topology.ExitStatus(code: code) == nil)
    }

    private struct Unknown: Error {}

    @Test func `an error of another package ends a program with what its caller says`() {
        #expect(Topology.ExitStatus(of: Unknown()) == .failed)
        #expect(Topology.ExitStatus(of: Unknown(), otherwise: .badInput) == .badInput)
        #expect(Topology.ExitStatus(of: TopologyError.balancing("no load")) == .badInput)
    }
}
