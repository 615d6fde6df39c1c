import Encoding
import Testing

/// Hashes and generators beside their published values.
@Suite struct HashAndSeedTests {
    /// Source: draft-eastlake-fnv, test vectors of the 64-bit FNV-1a.
    @Test(arguments: [
        ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c),
        ("foobar", 0x8594_4171_f739_67e8),
    ])
    func `FNV-1a has the published values`(text: String, hash: UInt64) {
        #expect(FNV1a.hash(text.utf8) == hash)
    }

    /// Source: the reference C program of SplitMix64 (Vigna), seed 1234567.
    @Test func `SplitMix64 has the published values`() {
        var generator = SplitMix64(seed: 1_234_567)
        let values = (0 ..< 5).map { _ in generator.next() }
        #expect(
            values == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }

    @Test func `uniform numbers lie in their intervals`() {
        var generator = SplitMix64(seed: 7)
        for _ in 0 ..< 10_000 {
            #expect((0 ..< 1).contains(generator.uniform()))
            let positive = generator.positiveUniform()
            #expect(positive > 0 && positive <= 1)
        }
    }

    @Test func `every name has a stream of its own`() {
        var first = SplitMix64(seed: 1, name: "gate")
        var second = SplitMix64(seed: 1, name: "up")
        #expect(first.next() != second.next())
    }
}
