/// The words that describe one token to a rank: a head, then one pair per choice of its experts.
///
/// The head holds the token's row, where its bytes lie, and how many pairs follow. A pair holds
/// the local expert index, which of the token's choices it is, the rank's place in its node, and
/// the gate weight.
enum Entry {
    static func head(row: Int, count: Int) -> UInt64 { UInt64(row) | UInt64(count) << 32 }
    static func row(_ head: UInt64) -> Int { Int(head & 0xffff_ffff) }
    static func count(_ head: UInt64) -> Int { Int(head >> 32) }

    static func pair(local: Int, choice: Int, place: Int, weight: Float) -> UInt64 {
        UInt64(local) | UInt64(choice) << 16 | UInt64(place) << 24
            | UInt64(weight.bitPattern) << 32
    }
    static func local(_ pair: UInt64) -> Int { Int(pair & 0xffff) }
    static func choice(_ pair: UInt64) -> Int { Int(pair >> 16 & 0xff) }
    static func place(_ pair: UInt64) -> Int { Int(pair >> 24 & 0xff) }
    static func weight(_ pair: UInt64) -> Float {
        Float(bitPattern: UInt32(truncatingIfNeeded: pair >> 32))
    }

    /// Local expert indices travel in 16 bits, places in 8.
    static let maximumExpertsPerRank = 1 << 16
    static let maximumRanksPerNode = 1 << 8
}
