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
