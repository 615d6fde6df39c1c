public import Topology

/// Everything that coordinator, workers and observers say to each other.
public enum ControlFrame: Equatable, Sendable {
    /// First frame of whoever connects.
    case hello(Hello)
    /// The coordinator's yes.
    case welcome(Welcome)
    /// The coordinator's no; the connection closes after it.
    case refusal(reason: String)
    /// A worker entered a phase.
    case entered(Phase)
    /// How far a worker is inside its phase.
    case progress(PhaseProgress)
    /// "I live", with a worker's figures.
    case heartbeat(RankStatistics?)
    /// A worker's part of an all-gather.
    case contribution(Gather, blob: [UInt8])
    /// All parts of an all-gather, in the order of its members.
    case gathered(Gather, blobs: [[UInt8]])
    /// Bytes of the application above; not looked into.
    case payload([UInt8])
    /// A worker did all of its work.
    case finished
    /// A worker cannot go on. `lost` is the rank it blames, if it is not itself.
    case failed(reason: String, lost: Rank?)
    /// The job as an observer sees it.
    case snapshot(JobSnapshot)
    /// An observer asks for the end of the job.
    case stop
    /// The job is over.
    case end(JobEnd)
}

/// Who connects.
public struct Hello: Hashable, Codable, Sendable {
    /// The rank a worker claims; nil is an observer, who sees snapshots and may ask for the end.
    public var rank: Rank?
    /// What the worker is about to run.
    ///
    /// Observers are not compared.
    public var identity: JobIdentity?
    /// The process, for messages.
    public var pid: Int32
    /// The machine, for messages.
    public var node: String

    /// States who connects.
    public init(rank: Rank?, identity: JobIdentity?, pid: Int32, node: String) {
        self.rank = rank
        self.identity = identity
        self.pid = pid
        self.node = node
    }

    /// What its connection must have been proved for.
    var role: Handshake.Role { rank == nil ? .observer : .worker }
}

/// What a worker learns when it is let in.
public struct Welcome: Hashable, Codable, Sendable {
    /// Counts changes of membership, from 1.
    public var epoch: Int
    /// How many ranks the job has.
    public var rankCount: Int
    /// The coordinator's release.
    public var version: String

    /// States the job.
    public init(epoch: Int, rankCount: Int, version: String = ApusVersion.current) {
        self.epoch = epoch
        self.rankCount = rankCount
        self.version = version
    }
}

/// How far a rank is inside a phase.
public struct PhaseProgress: Hashable, Codable, Sendable {
    /// Done so far, in bytes.
    public var doneBytes: Int
    /// To do in all, in bytes.
    public var totalBytes: Int
    /// Since the phase began.
    public var elapsedSeconds: Double

    /// States progress.
    public init(doneBytes: Int, totalBytes: Int, elapsed: Duration) {
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
        elapsedSeconds = elapsed.inSeconds
    }

    /// `1.2 of 6.8 GB, 3.1 GB/s, 2 s left`.
    public var description: String {
        let seconds = max(1e-9, elapsedSeconds)
        let rate = Double(doneBytes) / seconds
        let left = rate > 0 ? (Double(totalBytes) - Double(doneBytes)) / rate : 0
        func gigabytes(_ bytes: Double) -> String { (bytes / 1e9).formatted(digits: 2) }
        return "\(gigabytes(Double(doneBytes))) of \(gigabytes(Double(totalBytes))) GB,"
            + " \(gigabytes(rate)) GB/s, \(left.formatted(digits: 0)) s left"
    }
}

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
    /// Requests that hold a place in the batch.
    public var runningRequests = 0
    /// Requests that wait for one.
    public var waitingRequests = 0

    /// Nothing done yet.
    public init() {}
}

extension Duration {
    /// As a fraction.
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}

extension Double {
    /// Fixed decimals, as tables want them.
    func formatted(digits: Int) -> String {
        var scale = 1.0
        for _ in 0 ..< digits { scale *= 10 }
        guard isFinite, magnitude * scale < 1e15 else { return "-" }
        let value = Int((magnitude * scale).rounded())
        let sign = self < 0 && value != 0 ? "-" : ""
        if digits == 0 { return "\(sign)\(value)" }
        let fraction = String(value % Int(scale))
        let zeros = String(repeating: "0", count: digits - fraction.count)
        return "\(sign)\(value / Int(scale)).\(zeros)\(fraction)"
    }
}
