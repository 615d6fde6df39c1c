import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct RowTests {
        let pool = ThreadPool(threads: 2)

        @Test(arguments: levels)
        func `a norm divides by the root of the mean square`(level: Processor) {
            var random = Random(seed: 21)
            let x = random.tensor(5, 77)
            let weight = random.tensor(1, 60)
            let y = Tensor(rows: 5, columns: 77)
            at(level) {
                rmsNorm(x, weight: weight, epsilon: 1e-6, columns: 10 ..< 70, into: y, pool: pool)
            }
            for row in 0 ..< 5 {
                let squares = (10 ..< 70).reduce(0.0) { $0 + Double(x[row, $1] * x[row, $1]) }
                let scale = 1 / (squares / 60 + 1e-6).squareRoot()
                for i in 0 ..< 60 {
                    let expected = Double(x[row, 10 + i]) * scale * Double(weight[0, i])
                    #expect(abs(Double(y[row, 10 + i]) - expected) <= 40 * 0x1p-24)
                }
                #expect(y[row, 9] == 0 && y[row, 70] == 0)
            }
        }

        @Test func `rope turns pairs by their position's angle, and back`() {
            var random = Random(seed: 22)
            let x = random.tensor(3, 40)
            let original = x.values
            let angles = (0 ..< 50).flatMap { p in (0 ..< 4).map { Float(p) * pow(0.1, Float($0)) }
            }
            let cosines = Tensor(rows: 50, columns: 4, values: angles.map { cos($0) })
            let sines = Tensor(rows: 50, columns: 4, values: angles.map { sin($0) })
            let slices = RotarySlices(first: 2, stride: 12, count: 3)
            let positions: [Int32] = [0, 7, 49]
            func turn(_ inverse: Bool) {
                rope(
                    x, slices: slices, positions: positions, cosines: cosines, sines: sines,
                    inverse: inverse, pool: pool)
            }
            turn(false)
            let (even, odd) = (original[40 + 14], original[40 + 15])
            let angle = Float(7)
            #expect(abs(x[1, 14] - (even * cos(angle) - odd * sin(angle))) < 1e-6)
            #expect(abs(x[1, 15] - (odd * cos(angle) + even * sin(angle))) < 1e-6)
            #expect(Array(x.values[0 ..< 40]) == Array(original[0 ..< 40]))
            #expect(x[1, 1] == original[41] && x[1, 10] == original[50])
            turn(true)
            for i in 0 ..< 120 { #expect(abs(x.values[i] - original[i]) < 1e-6) }
        }

        @Test func `rope of halves turns what rope of neighbours turns, in another order`() {
            var random = Random(seed: 23)
            let x = random.tensor(2, 20)
            let angles = (0 ..< 10).flatMap { p in (0 ..< 3).map { Float(p) / Float(1 + $0) } }
            let cosines = Tensor(rows: 10, columns: 3, values: angles.map { cos($0) })
            let sines = Tensor(rows: 10, columns: 3, values: angles.map { sin($0) })
            let slices = RotarySlices(first: 3, stride: 8, count: 2)
            let order = [0, 2, 4, 1, 3, 5]
            let mixed = Tensor(rows: 2, columns: 20, values: x.values)
            func each(_ body: (Int, Int, Int) -> Void) {
                for row in 0 ..< 2 {
                    for first in [3, 11] {
                        for i in 0 ..< 6 { body(row, first + i, first + order[i]) }
                    }
                }
            }
            each { row, place, source in mixed[row, place] = x[row, source] }
            for inverse in [false, true] {
                for (tensor, kind) in [(x, RotaryPairs.neighbours), (mixed, .halves)] {
                    rope(
                        tensor, slices: slices, positions: [2, 9], cosines: cosines, sines: sines,
                        inverse: inverse, of: kind, pool: pool)
                }
                each { row, place, source in
                    #expect(abs(mixed[row, place] - x[row, source]) < 1e-6)
                }
            }
        }

        @Test(arguments: levels)
        func `swiglu and softmax follow the exponential function`(level: Processor) {
            let values = (-400 ... 400).map { Float($0) / 4 }
            let gate = Tensor(rows: 1, columns: values.count, values: values)
            let up = Tensor(rows: 1, columns: values.count)
            up.fill(3)
            let y = Tensor(rows: 1, columns: values.count)
            let logs = Tensor(rows: 1, columns: values.count, values: values)
            at(level) {
                swiglu(gate, up, into: y, pool: pool)
                softmax(gate, pool: pool)
                logSoftmax(logs, pool: pool)
            }
            let sum = values.reduce(0.0) { $0 + exp(Double($1) - 100) }
            for (i, value) in values.enumerated() {
                let silu = 3 * Double(value) / (1 + exp(-Double(value)))
                #expect(abs(Double(y[0, i]) - silu) <= 8 * 0x1p-24 * abs(silu) + 1e-30)
                let share = exp(Double(value) - 100) / sum
                #expect(abs(Double(gate[0, i]) - share) <= 16 * 0x1p-24 * share + 1e-37)
                #expect(
                    abs(Double(logs[0, i]) - log(share)) <= 4 * 0x1p-24 * abs(log(share)) + 1e-6)
            }
        }

        @Test func `every level gives the same bits for operations on rows`() {
            var random = Random(seed: 23)
            let x = random.tensor(4, 301)
            let weight = random.tensor(1, 301)
            let results = levels.map { level in
                at(level) {
                    let y = Tensor(rows: 4, columns: 301)
                    rmsNorm(x, weight: weight, epsilon: 1e-5, into: y, pool: pool)
                    swiglu(y, x, into: y, pool: pool)
                    softmax(y, pool: pool)
                    return y.values
                }
            }
            #expect(results.allSatisfy { $0 == results[0] })
        }

        @Test func `rows are gathered and added in order`() {
            let x = Tensor(rows: 3, columns: 2, values: [1, 2, 3, 4, 5, 6])
            let y = Tensor(rows: 2, columns: 2)
            gatherRows(x, rows: [2, 0], into: y, pool: pool)
            #expect(y.values == [5, 6, 1, 2])
            scatterAddRows(x, rows: [1, 1, 0], weights: [1, 10, 0.5], into: y)
            #expect(y.values == [7.5, 9, 32, 44])
            add(y, into: y, pool: pool)
            #expect(y.values == [15, 18, 64, 88])
        }

        @Test func `a pool runs each thread once and splits without gaps`() {
            for threads in [1, 2, 5] {
                let pool = ThreadPool(threads: threads)
                let hits = Tensor(rows: threads, columns: 16)
                for _ in 0 ..< 200 { pool.run { thread, _ in hits[thread, 0] += 1 } }
                #expect((0 ..< threads).allSatisfy { hits[$0, 0] == 200 })
                let marks = Tensor(rows: 1, columns: 37)
                pool.split(37) { range in for i in range { marks[0, i] += 1 } }
                #expect(marks.values.allSatisfy { $0 == 1 })
            }
        }
    }
}
