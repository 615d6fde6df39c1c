import Tensors
import Testing

extension TensorsTests {
    @Suite struct MatrixProductTests {
        let pool = ThreadPool(threads: 2)

        @Test(arguments: levels, MatrixProduct.allCases)
        func `a product of tensors equals the sum in double precision`(
            level: Processor, product: MatrixProduct
        ) {
            var random = Random(seed: 11)
            for (m, n, k) in [(1, 1, 1), (7, 65, 33), (70, 130, 600), (400, 10, 5)] {
                let a = product == .transposedTimes ? random.tensor(k, m) : random.tensor(m, k)
                let b = product == .timesTransposed ? random.tensor(n, k) : random.tensor(k, n)
                let start = random.tensor(m, n)
                for compute in Compute.allCases {
                    for accumulate in [false, true] {
                        let c = Tensor(rows: m, columns: n)
                        c.copy(from: start)
                        at(level) {
                            matmul(
                                product, a, b, into: c, accumulate: accumulate, compute: compute,
                                pool: pool)
                        }
                        // bf16 rounds both factors of a term, each by at most 2^-8 of itself.
                        let slack = compute == .bfloat16 ? 0x1.01p-7 : 0
                        let worst = check(c, a, b, product, accumulate ? start : nil, slack)
                        #expect(worst <= 1, "\(m)x\(n)x\(k) \(compute) accumulate \(accumulate)")
                    }
                }
            }
        }

        /// The largest error, over what rounding allows.
        private func check(
            _ c: Tensor, _ a: Tensor, _ b: Tensor, _ product: MatrixProduct, _ start: Tensor?,
            _ slack: Double
        ) -> Double {
            let k = product == .transposedTimes ? a.rows : a.columns
            var worst = 0.0
            for i in 0 ..< c.rows {
                for j in 0 ..< c.columns {
                    var sum = Double(start?[i, j] ?? 0)
                    var magnitude = abs(sum)
                    for l in 0 ..< k {
                        let left = Double(product == .transposedTimes ? a[l, i] : a[i, l])
                        let right = Double(product == .timesTransposed ? b[j, l] : b[l, j])
                        sum += left * right
                        magnitude += abs(left * right)
                    }
                    let allowed = bound(k, magnitude) + slack * magnitude
                    worst = max(worst, abs(Double(c[i, j]) - sum) / allowed)
                }
            }
            return worst
        }
    }
}
