public import Topology

/// Which ranks of a job leave or come back so that a stated number of them serve.
public struct ScalePlan: Equatable, Sendable {
    /// The ranks that leave, in turn: the highest first.
    public let leaving: [Rank]
    /// The ranks that come back, in turn: the lowest first.
    public let returning: [Rank]

    /// Plans from how a job is.
    ///
    /// - Parameter count: Ranks that are to serve, 1 to those of the job.
    /// - Throws: `ClusterError.badInput` for another number, and while a rank is lost or leaves,
    ///   because who serves is about to change.
    public init(_ job: JobSnapshot, to count: Int) throws(ClusterError) {
        let all = job.members.count
        guard (1 ... max(1, all)).contains(count) else {
            throw .badInput(
                "\(count) ranks are out of range: the job has \(all) (ranks), and no more can join,"
                    + " because its experts are placed for \(all): 1...\(all)"
                    + (count < 1 ? "; apus stop ends the job" : ""))
        }
        guard job.phase == .ready, job.awaited == nil else {
            throw .badInput("the job is in phase \(job.phase): ask again when it is ready")
        }
        for member in job.members where member.drain != .left {
            if let loss = member.loss {
                throw .badInput("\(member.rank) is lost: \(loss): ask again when it is back")
            }
            if member.drain == .leaving {
                throw .badInput("\(member.rank) leaves: ask again when it has left")
            }
        }
        let serving = job.members.filter { $0.loss == nil }.map(\.rank).sorted()
        let away = job.members.filter { $0.drain == .left }.map(\.rank).sorted()
        leaving = Array(serving.dropFirst(count).reversed())
        returning = Array(away.prefix(max(0, count - serving.count)))
    }
}
