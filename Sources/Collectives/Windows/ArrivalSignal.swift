internal import Topology

/// The signal words of one rank's window: one per buffer, kind and sender.
enum ArrivalSignal: Int, CaseIterable {
    /// Entries of a source are there; its tokens can be read.
    case entries
    /// A block of a source elsewhere is there.
    case block
    /// A neighbour's outputs can be read.
    case outputs
    /// A carrier brought rows home.
    case returned

    static func index(_ kind: ArrivalSignal, buffer: Int, from rank: Rank, rankCount: Int) -> Int {
        (buffer * allCases.count + kind.rawValue) * rankCount + rank.rawValue
    }

    static func count(rankCount: Int) -> Int {
        (ExpertParallelConfiguration.bufferCount * allCases.count + 1) * rankCount
    }

    /// The signal by which a rank begins an epoch, and says how many exchanges it has started.
    static func epochIndex(from rank: Rank, rankCount: Int) -> Int {
        count(rankCount: rankCount) - rankCount + rank.rawValue
    }

    static func epochWord(_ epoch: UInt64, sequence: UInt64) -> UInt64 { epoch << 40 | sequence }
    static func epoch(of word: UInt64) -> UInt64 { word >> 40 }
    static func lastSequence(of word: UInt64) -> UInt64 { word & (1 << 40 - 1) }

    /// A signal says which exchange, and how many entries or rows.
    static func word(sequence: UInt64, count: Int) -> UInt64 { sequence << 24 | UInt64(count) }
    static func sequence(of word: UInt64) -> UInt64 { word >> 24 }
    static func count(of word: UInt64) -> Int { Int(word & 0xff_ffff) }
}
