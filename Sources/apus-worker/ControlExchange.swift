import Cluster
import Topology
import Transport

/// The control plane as Transport wants it: a way to swap addresses before bytes can move, among
/// the ranks of one fabric.
final class ControlExchange: AddressExchange {
    let rank: Rank
    let rankCount: Int
    private let link: ControlLink
    private let members: [Rank]
    private let epoch: UInt64

    /// - Parameters:
    ///   - rank: This rank's number in the job.
    ///   - members: The ranks of the fabric as the job numbers them, in the order of their numbers
    ///     in the fabric.
    ///   - epoch: The one of which they are the members.
    init(_ link: ControlLink, rank: Rank, members: [Rank], epoch: UInt64) {
        guard let place = members.firstIndex(of: rank) else {
            preconditionFailure("\(rank) is not one of \(members)")
        }
        self.link = link
        self.members = members
        self.epoch = epoch
        self.rank = Rank(rawValue: place)
        rankCount = members.count
    }

    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        do {
            return try link.allGather(
                blob, label: label, among: members, epoch: epoch, limit: deadline.remaining)
        } catch .ended(.lost(let rank, let phase, _, let reason)) {
            throw .rankLost(rank, phase: "\(phase)", cause: reason)
        } catch .deadline {
            throw .deadline(nil, phase: label, limit: deadline.limit)
        } catch {
            throw .call("all-gather \"\(label)\"", status: error.description)
        }
    }

    /// The link outlives the fabric; its owner closes it.
    func close() {}
}
