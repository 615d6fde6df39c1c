import CKernels
import Tensors
import Testing

extension TensorsTests {
    @Suite struct RecyclingTests {
        @Test func `a tensor begins as zeros in recycled memory too`() {
            Tensor.recycleMemory()
            for size in [10, 1 << 14, (1 << 14) + 1, 3 << 18] {
                for _ in 0 ..< 3 {
                    let tensor = Tensor(rows: 1, columns: size)
                    #expect(tensor.values.allSatisfy { $0 == 0 })
                    tensor.fill(7)
                }
            }
        }

        @Test func `what is kept is bounded by what was in use`() {
            // What earlier tests had in use is forgotten.
            ck_recycle(false)
            Tensor.recycleMemory()
            // Other tests may hold tensors meanwhile, which only widens the bound: the rounds use
            // sizes that never repeat, 64 times as much in all as at any one time.
            let most = 256 << 20
            for round in 0 ..< 64 {
                _ = Tensor(rows: 1, columns: (1 << 20) + round << 18).count
                #expect(ck_recycled_bytes() <= most)
            }
            ck_recycle(false)
            #expect(ck_recycled_bytes() == 0)
            ck_recycle(true)
        }

        @Test func `products made together equal products made alone`() {
            let pool = ThreadPool(threads: 2)
            var random = Random(seed: 5)
            for product in MatrixProduct.allCases {
                for compute in Compute.allCases {
                    var together: [ProductPart] = []
                    var alone: [Tensor] = []
                    var results: [Tensor] = []
                    for (m, n, k) in [(5, 70, 9), (0, 8, 8), (800, 64, 130), (3, 4, 0)] {
                        let transposesA = product == .transposedTimes
                        let transposesB = product == .timesTransposed
                        let a = transposesA ? random.tensor(k, m) : random.tensor(m, k)
                        let b = transposesB ? random.tensor(n, k) : random.tensor(k, n)
                        let c = Tensor(rows: m, columns: n)
                        c.fill(3)
                        results.append(c)
                        together.append(ProductPart(a, b, into: c))
                        let single = Tensor(rows: m, columns: n)
                        matmul(product, a, b, into: single, compute: compute, pool: pool)
                        alone.append(single)
                    }
                    matmul(product, together, compute: compute, pool: pool)
                    for (one, other) in zip(results, alone) { #expect(one.values == other.values) }
                }
            }
        }
    }
}
