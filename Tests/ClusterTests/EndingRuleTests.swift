import Glibc
import Testing

@testable import Cluster

/// How processes are asked to end, and then ended.
@Suite struct EndingRuleTests {
    /// The signals that a rule sends to three processes.
    private func signals(
        of rule: EndingRule, left: (Int32?) -> Int
    ) -> (sent: [Int32], left: Int) {
        var sent: [Int32] = []
        let count = rule.end { number in
            if let number { sent.append(number) }
            return left(number)
        }
        return (sent, count)
    }

    @Test func `processes that obey are not killed`() {
        let found = signals(of: EndingRule()) { _ in 0 }
        #expect(found.sent == [SIGTERM] && found.left == 0)
    }

    @Test func `processes that ignore SIGTERM are killed once patience is over`() {
        let found = signals(of: EndingRule(patience: .zero)) { $0 == SIGKILL ? 0 : 3 }
        #expect(found.sent == [SIGTERM, SIGKILL] && found.left == 0)
    }

    @Test func `SIGTERM is sent once, however long patience is`() {
        var counts = 0
        let found = signals(of: EndingRule(patience: .seconds(3600))) { _ in
            counts += 1
            return counts < 5 ? 3 : 0
        }
        #expect(found.sent == [SIGTERM] && counts == 5)
    }

    @Test func `processes that no signal ends are given up at the limit and counted`() {
        let found = signals(of: EndingRule(patience: .zero, limit: .zero)) { _ in 3 }
        #expect(found.sent.first == SIGTERM && found.left == 3)
    }
}
