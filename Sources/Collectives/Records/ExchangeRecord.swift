public import Topology

/// What one dispatch or combine moved, and where its time went.
public struct ExchangeRecord: Hashable, Sendable {
    /// The two halves of an exchange.
    public enum Kind: String, Hashable, Sendable { case dispatch, combine }

    /// Which half of the exchange this is.
    public var kind: Kind
    /// Counts the exchanges of a group from 1.
    public var sequence: UInt64
    /// Per rank: bytes that the rank gets from this one as the model sees it, one encoded row per
    /// token and rank (or expert, where rows go home one by one). This rank counts too.
    public var logicalBytes: [Int]
    /// Per rank: bytes that were stored for it or put to it, entries and heads included. A token
    /// that several ranks of this node read in one place is counted at this rank, once.
    public var physicalBytes: [Int]
    /// Rows posted to other nodes: a token counts once per node, and each row that returns.
    public var crossingRows: Int
    /// From the start to the last arrival.
    public var wireTime: Duration
    /// From this rank's start to the start of the last rank of its node: waiting for a slower
    /// rank to begin, not for bytes.
    public var skew: Duration
    /// The part of the wire time in which this rank only waited: no computation hid it.
    public var exposedTime: Duration
    /// When it began, in nanoseconds of the fabric's clock.
    public var began: UInt64
    /// When this rank saw that the last byte was here: between computations, or at the end
    /// of a wait.
    public var arrived: UInt64
    /// When this rank had everything, taken in or added up.
    public var ended: UInt64
    /// The waits that `exposedTime` adds up, on the same clock.
    public var waits: [Range<UInt64>]
    /// The rank whose bytes ended the last wait: what came before it was already here. nil if
    /// nothing was waited for.
    public var lastAwaited: Rank?
    /// Ranks that were left out because they are dead.
    public var masked: [Rank]
}
