import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct GateTests {
        let pool = ThreadPool(threads: 2)

        @Test(arguments: [GateRule.Score.sigmoid, .softmax], [1, 4])
        func `a gate chooses by biased and weighs by unbiased score`(
            score: GateRule.Score, groups: Int
        ) {
            var random = Random(seed: 31)
            let rule = GateRule(
                score: score, expertCount: 32, topK: 6, groupCount: groups,
                topGroups: max(1, groups / 2), groupScore: score == .sigmoid ? .bestTwo : .best,
                normalises: score == .sigmoid, scaling: 2.5)
            let bias = random.tensor(1, 32)
            let logits = random.tensor(50, 32)
            let given = (0 ..< 50).map { row in (0 ..< 32).map { Double(logits[row, $0]) } }
            var experts = [Int32](repeating: -1, count: 300)
            let weights = Tensor(rows: 50, columns: 6)
            gate(
                logits, rule: rule, bias: score == .sigmoid ? bias : nil, experts: &experts,
                into: weights, pool: pool)
            for row in 0 ..< 50 {
                let biases = (0 ..< 32).map { score == .sigmoid ? Double(bias[0, $0]) : 0 }
                let (ids, shares) = choose(given[row], biases, rule)
                #expect(experts[row * 6 ..< row * 6 + 6].map { Int($0) } == ids)
                for k in 0 ..< 6 { #expect(abs(Double(weights[row, k]) - shares[k]) < 1e-5) }
            }
        }

        @Test func `the softmax of the chosen logits weighs, bias included`() {
            var random = Random(seed: 37)
            let (bias, logits) = (random.tensor(1, 12), random.tensor(40, 12))
            let given = (0 ..< 40).map { row in
                (0 ..< 12).map { Double(logits[row, $0]) + Double(bias[0, $0]) }
            }
            let rule = GateRule(score: .softmaxOfChosen, expertCount: 12, topK: 4)
            var experts = [Int32](repeating: -1, count: 160)
            let weights = Tensor(rows: 40, columns: 4)
            gate(logits, rule: rule, bias: bias, experts: &experts, into: weights, pool: pool)
            for row in 0 ..< 40 {
                let best = given[row].indices.sorted { given[row][$0] > given[row][$1] }.prefix(4)
                #expect(experts[row * 4 ..< row * 4 + 4].map { Int($0) } == Array(best))
                let total = best.reduce(0.0) { $0 + exp(given[row][$1]) }
                for (k, expert) in best.enumerated() {
                    #expect(abs(Double(weights[row, k]) - exp(given[row][expert]) / total) < 1e-6)
                }
            }
        }

        @Test func `equal scores go to the lower expert`() {
            let logits = Tensor(rows: 1, columns: 8)
            var experts = [Int32](repeating: -1, count: 3)
            let weights = Tensor(rows: 1, columns: 3)
            let rule = GateRule(expertCount: 8, topK: 3, groupCount: 4, topGroups: 2)
            gate(logits, rule: rule, bias: nil, experts: &experts, into: weights, pool: pool)
            #expect(experts == [0, 1, 2])
            #expect(weights.values.allSatisfy { abs($0 - 1 / 3) < 1e-6 })
            #expect(logits[0, 5] == 0.5)
        }

        /// The rule of the papers, in double precision and with sorts.
        private func choose(
            _ logits: [Double], _ bias: [Double], _ rule: GateRule
        ) -> ([Int], [Double]) {
            let exponentials = logits.map { exp($0) }
            let total = exponentials.reduce(0, +)
            let scores =
                rule.score == .sigmoid
                ? logits.map { 1 / (1 + exp(-$0)) } : exponentials.map { $0 / total }
            let biased = zip(scores, bias).map { $0 + $1 }
            let size = rule.expertCount / rule.groupCount
            let groupScores = (0 ..< rule.groupCount).map { group in
                biased[group * size ..< (group + 1) * size].sorted(by: >)
                    .prefix(rule.groupScore == .best ? 1 : 2).reduce(0, +)
            }
            let kept = Set(
                (0 ..< rule.groupCount).sorted { groupScores[$0] > groupScores[$1] }
                    .prefix(rule.topGroups))
            let ids = (0 ..< rule.expertCount).filter { kept.contains($0 / size) }
                .sorted { biased[$0] > biased[$1] }.prefix(rule.topK)
            let sum = rule.normalises ? ids.reduce(0) { $0 + scores[$1] } : 1
            return (Array(ids), ids.map { scores[$0] / sum * Double(rule.scaling) })
        }
    }
}
