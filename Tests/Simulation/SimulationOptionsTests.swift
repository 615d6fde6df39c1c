import Benchmarks
import Testing
import Topology

/// What a user may give wrongly ends in one line with the option, its value and its limit.
@Suite struct SimulationOptionsTests {
    enum Mistake: String, CaseIterable {
        case ranks = "--ranks 9: is not 1 to 8 (four-nodes-25g-roce)"
        case kill = "--kill 8: no such rank: the ranks are 0 to 7 (--ranks)"
        case link = "--slow node9.plane0.out: no such link among"
        case straggler = "--straggler 1: needs --compute"
        case topK = "--topk 25: is not 1 to 24 (experts)"
        case group = "--ep 4: --detail bytes makes one group of all 8 ranks"
    }

    @Test(arguments: Mistake.allCases)
    func `a mistake is told with its value and its limit`(mistake: Mistake) throws {
        var options = try SimulatedExchangeTests.options("four-nodes-25g-roce", ranks: 8)
        switch mistake {
        case .ranks: options.rankCount = 9
        case .kill: options.kills = [8: .zero]
        case .link: options.slowLinks = ["node9.plane0.out": 0.5]
        case .straggler: options.stragglers = [1: 2]
        case .topK: options.topK = 25
        case .group: options.groupSize = 4
        }
        let wrong = options
        let error = #expect(throws: SimulationError.self) { try SimulatedExchange(wrong) }
        let words = error.map { "\($0)" } ?? "none"
        #expect(words.hasPrefix(mistake.rawValue), "\(words)")
        #expect(error?.exitStatus == .badInput)
    }
}
