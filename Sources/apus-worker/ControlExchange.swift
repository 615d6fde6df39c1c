import Cluster
import Topology
import Transport

/// The control plane as Transport wants it: a way to swap addresses before bytes can move.
final class ControlExchange: AddressExchange {
    let rank: Rank
    let rankCount: Int
    private let link: ControlLink

    init(_ link: ControlLink, rank: Rank) {
        self.link = link
        self.rank = rank
        rankCount = link.welcome.rankCount
    }

    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        do {
            return try link.allGather(blob, label: label, limit: deadline.remaining)
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

/// The part of a control plane that some ranks use among themselves.
///
/// Safe to use only while every rank of the job belongs to one such part, all as large, and calls
/// in the same order: each call crosses all ranks and keeps the answers of the members.
final class MemberExchange: AddressExchange {
    let rank: Rank
    let rankCount: Int
    private let all: ControlExchange
    private let members: [Rank]

    /// - Parameter members: The ranks of this part, in the order of their ranks in it.
    init(_ all: ControlExchange, members: [Rank]) {
        self.all = all
        self.members = members
        rank = Rank(rawValue: members.firstIndex(of: all.rank) ?? 0)
        rankCount = members.count
    }

    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        let blobs = try all.allGather(blob, label: "part: \(label)", deadline: deadline)
        return members.map { blobs[$0.rawValue] }
    }

    func close() {}
}
