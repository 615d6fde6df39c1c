public import Collectives
public import Tensors
import Topology

/// Carries the transfers of a schedule over a group's channels.
///
/// Activations and gradients of each direction have a channel of their own, because a channel keeps
/// the order in which it was filled and the two ends take the four kinds in different orders. A
/// channel has a slot for every activation that a rank may hold, so that no send ever waits.
public final class ChannelLink: StageLink {
    /// Channels between each ordered pair of ranks.
    public static let channelCount = 4

    private let channels: Channels
    private let schedule: Schedule
    private let rankOffset: Int
    private let codec: RowCodec

    /// - Parameters:
    ///   - channels: Made with `channelCount` channels of `slotCount(schedule)` slots.
    ///   - rankOffset: The group's rank of the pipeline's rank 0.
    ///   - codec: How rows travel.
    public init(
        _ channels: Channels, schedule: Schedule, rankOffset: Int = 0, codec: RowCodec = .float32
    ) {
        self.channels = channels
        self.schedule = schedule
        self.rankOffset = rankOffset
        self.codec = codec
    }

    /// Slots that a channel needs so that no send waits.
    public static func slotCount(_ schedule: Schedule) -> Int {
        max(1, schedule.kind == .forwardOnly ? 4 : schedule.publishedPeakActivations)
    }

    private func channel(_ transfer: Transfer) -> Int {
        let isSecond = schedule.isSecondDirection(.forward(transfer.source))
        return (transfer.content == .activation ? 0 : 2) + (isSecond ? 1 : 0)
    }

    private func peer(_ transfer: Transfer) -> Rank {
        Rank(rawValue: transfer.peer.rawValue + rankOffset)
    }

    /// Writes the tensor into the receiver's window.
    public func send(_ tensor: Tensor, _ transfer: Transfer) throws {
        try channels.send(tensor, to: peer(transfer), channel: channel(transfer), codec: codec)
    }

    /// Waits for the tensor and copies it out of this rank's window.
    public func receive(_ transfer: Transfer, into tensor: Tensor) throws {
        try channels.receive(
            into: tensor, from: peer(transfer), channel: channel(transfer), codec: codec)
    }
}
