import Topology

/// How a rank that leaves names the rank because of which it leaves: by its number plus one, or by
/// 0 if there is none.
enum SuspectWord {
    static func encode(_ suspect: Rank?) -> UInt64 {
        suspect.map { UInt64($0.rawValue) + 1 } ?? 0
    }

    /// Reads a word that another rank wrote.
    ///
    /// - Returns: nil for 0, for a number that no rank has, and for this rank itself.
    static func decode(_ word: UInt64, own: Rank, rankCount: Int) -> Rank? {
        guard word > 0, word <= UInt64(rankCount) else { return nil }
        let suspect = Rank(rawValue: Int(word) - 1)
        return suspect == own ? nil : suspect
    }
}
