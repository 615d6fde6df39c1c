public import Topology

/// Everything that coordinator, workers and observers say to each other.
public enum ControlFrame: Equatable, Sendable {
    /// First frame of a worker or an observer.
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
    /// Bytes of the application above; not parsed.
    case payload([UInt8])
    /// A worker did all of its work.
    case finished
    /// A worker cannot go on. `lost` is the rank that it suspects, if that is another.
    case failed(reason: String, lost: Rank?)
    /// A worker cannot make a step of an epoch because of another rank, and waits for the next one.
    case suspected(Rank, epoch: UInt64, reason: String)
    /// Who takes part from now on.
    case epoch(JobEpoch)
    /// A worker takes part in an epoch.
    case recovered(epoch: UInt64)
    /// Who is to take part next: meet them.
    case prepare(JobEpoch)
    /// A worker reaches every rank of an epoch that is to come.
    case prepared(epoch: UInt64)
    /// It does not.
    case notPrepared(epoch: UInt64, reason: String, lacksMemory: Bool)
    /// An epoch that was prepared for will not come.
    case abandon(epoch: UInt64)
    /// What a worker's gates chose since it last said so.
    case counts(ExpertCounts)
    /// An observer asks where the experts are.
    case askPlacement
    /// Where they are.
    case placement(PlacementReport)
    /// An observer asks for the experts in other places.
    case place(PlacementRequest)
    /// The coordinator's no to that.
    case notPlaced(reason: String)
    /// An observer asks for a trace of so many seconds.
    case askTrace(seconds: Int)
    /// The coordinator's machine has it in this file.
    case traced(file: String)
    /// The coordinator's no to that.
    case notTraced(reason: String)
    /// An observer asks for a rank to leave on purpose.
    case askDrain(Rank)
    /// The rank has left.
    case drained(Rank)
    /// The coordinator's no to that, or why the rank stays after all.
    case notDrained(reason: String)
    /// An observer asks for a rank that left on purpose to be started again.
    case askReturn(Rank)
    /// The rank takes part again.
    case returned(Rank)
    /// The coordinator's no to that, or why the rank is not back.
    case notReturned(reason: String)
    /// An observer asks who gives the model's files.
    case askWeights
    /// Their addresses, the likeliest first; an empty one is the coordinator's own.
    case weights([[Endpoint]])
    /// Which ranks are away on purpose: a worker keeps it for another coordinator.
    case drainedRanks(DrainedRanks)
    /// The job as an observer sees it.
    case snapshot(JobSnapshot)
    /// An observer asks for the end of the job.
    case stop
    /// The job is over.
    case end(JobEnd)
}

extension Hello {
    /// What its connection must have been proved for.
    var role: Handshake.Role { rank == nil ? .observer : .worker }
}
