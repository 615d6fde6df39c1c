import Encoding
import Testing

/// Seeds and hashes give the values that are published for them.
@Suite struct SeedTests {
    @Test func `the generator gives the published values of its seed`() {
        // Of seed 1234567, as the authors' C program prints them (prng.di.unimi.it/splitmix64.c).
        var random = SplitMix64(seed: 1_234_567)
        let values = (0 ..< 3).map { _ in random.next() }
        #expect(
            values == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
    }

    @Test func `numbers of both uniform kinds stay in their ranges`() {
        var random = SplitMix64(seed: 5)
        for _ in 0 ..< 1000 {
            #expect((0 ..< 1).contains(random.uniform()))
            let positive = random.positiveUniform()
            #expect(positive > 0 && positive <= 1)
        }
    }

    @Test(arguments: [
        ("", 0xcbf2_9ce4_8422_2325 as UInt64), ("a", 0xaf63_dc4c_8601_ec8c),
        ("foobar", 0x8594_4171_f739_67e8),
    ])
    func `the hash is FNV-1a of 64 bits`(text: String, hash: UInt64) {
        // draft-eastlake-fnv, appendix C.
        #expect(FNV1a.hash(text.utf8) == hash)
    }
}
