public import Topology

/// What a worker reports with every heartbeat.
public struct RankStatistics: Hashable, Codable, Sendable {
    /// Steps since the start.
    public var steps = 0
    /// Steps per second lately.
    public var stepsPerSecond = 0.0
    /// Tokens generated per second lately.
    public var tokensPerSecond = 0.0
    /// The part of step time that went into dispatch and combine, 0 to 1.
    public var allToAllShare = 0.0
    /// The part of all-to-all time that computation hid, 0 to 1.
    public var hiddenShare = 0.0
    /// The part of step time in which dispatch and combine were waited for, 0 to 1.
    public var exposedShare = 0.0
    /// The part of step time in which routed experts were computed, 0 to 1.
    public var expertShare = 0.0
    /// The part of step time in which other ranks had not begun the step yet, 0 to 1.
    public var waitShare = 0.0
    /// Prompt tokens computed per second lately.
    public var promptTokensPerSecond = 0.0
    /// The part of the latent cache that requests hold, 0 to 1.
    public var cacheShare = 0.0
    /// Requests that hold a place in the batch.
    public var runningRequests = 0
    /// Requests that wait for one.
    public var waitingRequests = 0
    /// Bytes that its tokens and rows took to ranks of its node per second lately.
    public var sentInsidePerSecond = 0
    /// Bytes that they took to other nodes per second lately.
    public var sentAcrossPerSecond = 0
    /// The rank to which most went lately; nil where nothing was sent.
    public var busiestReceiver: Rank?
    /// Bytes per second lately to each rank, as the job numbers them; empty in a job of more than
    /// `matrixRanks`, whose heartbeats stay small.
    public var sentPerSecond: [Int] = []

    /// The most ranks of a job that tell what they send to each.
    public static let matrixRanks = 16

    /// Nothing done yet.
    public init() {}
}
