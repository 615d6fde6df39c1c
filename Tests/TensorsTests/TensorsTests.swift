import Tensors
import Testing

@Suite struct LinearTests {
    @Test func `a product of small integers is exact`() {
        let pool = ThreadPool(threads: 2)
        let x = Tensor(rows: 2, columns: 3, values: [1, 2, 3, 4, 5, 6])
        let w = Weight(Tensor(rows: 2, columns: 3, values: [1, 0, -1, 2, 1, 0]))
        let y = Tensor(rows: 2, columns: 2)
        linear(x, w, into: y, compute: .bfloat16, pool: pool)
        #expect(y.values == [-2, 4, -2, 13])
    }
}
