import Testing
import TileModel

/// AMX's product on a model of its instructions, against sums in double precision.
@Suite(.serialized) struct TileModelTests {
    /// bf16 of small numbers, each exact.
    private static func values(_ count: Int, seed: Int) -> [Float] {
        (0 ..< count).map { Float(($0 &* 7919 &+ seed &* 31) % 257 - 128) / 64 }
    }

    private static func bits(_ value: Float) -> UInt16 { UInt16(value.bitPattern >> 16) }

    /// One product of `rows` rows; what a row's stride leaves over holds NaN, which must not count.
    private static func product(
        _ x: [Float], rows: Range<Int>, stride: Int, _ panel: [UInt16], inputs: Range<Int>,
        onto sums: [Float]?
    ) -> [Float] {
        let padded = (inputs.count + 1) / 2 * 2
        var a = [UInt16](repeating: 0x7fc0, count: rows.count * (padded + 6))
        for (place, row) in rows.enumerated() {
            for i in 0 ..< padded {
                let value = i < inputs.count ? x[row * stride + inputs.lowerBound + i] : 0
                a[place * (padded + 6) + i] = bits(value)
            }
        }
        var c = sums ?? [Float](repeating: .nan, count: rows.count * 64)
        unsafe panel.withUnsafeBufferPointer { panel in
            let first = unsafe panel.baseAddress! + inputs.lowerBound * 64
            unsafe ck_panel_amx(
                a, padded + 6, Int32(rows.count), first, Int32(inputs.count), &c, 64,
                sums != nil, nil)
        }
        return c
    }

    @Test(arguments: [1, 5, 16, 17, 40], [1, 2, 31, 32, 33, 96, 130])
    func `tiles give the sums, and every row its own bits`(rows: Int, k: Int) {
        let x = Self.values(rows * k, seed: 1)
        let w = Self.values(64 * k, seed: 2)  // [64, k]
        var panel = [UInt16](repeating: 0, count: 64 * ((k + 1) / 2 * 2))
        for output in 0 ..< 64 {
            for i in 0 ..< k {
                panel[i / 2 * 128 + output * 2 + i % 2] = Self.bits(w[output * k + i])
            }
        }
        let all = Self.product(x, rows: 0 ..< rows, stride: k, panel, inputs: 0 ..< k, onto: nil)
        for row in 0 ..< rows {
            for output in 0 ..< 64 {
                var sum = 0.0
                var size = 0.0
                for i in 0 ..< k {
                    let term = Double(x[row * k + i]) * Double(w[output * k + i])
                    sum += term
                    size += abs(term)
                }
                #expect(abs(Double(all[row * 64 + output]) - sum) <= 1e-6 * size)
            }
            let alone = Self.product(
                x, rows: row ..< row + 1, stride: k, panel, inputs: 0 ..< k, onto: nil)
            #expect(alone[...] == all[row * 64 ..< row * 64 + 64])
        }
        guard k > 32 else { return }
        let first = Self.product(
            x, rows: 0 ..< rows, stride: k, panel, inputs: 0 ..< 32, onto: nil)
        let both = Self.product(
            x, rows: 0 ..< rows, stride: k, panel, inputs: 32 ..< k, onto: first)
        #expect(both == all)
    }
}
