public import Tensors
public import Topology
public import Transport

/// Sends tensors from rank to rank, in order, without waiting for the receiver to ask.
///
/// Between each ordered pair of ranks there are `channelCount` channels, each a ring of
/// `slotCount` slots in the receiver's window. A send returns once its slot is written; it waits
/// only while all slots of its channel are full. Messages of one channel arrive in the order they
/// were sent; channels do not wait for each other, so a pipeline gives each direction its own.
///
/// Invariant: a slot is written again only after the receiver said that it took what was there.
public final class Channels {
    /// Channels between each ordered pair of ranks.
    public let channelCount: Int
    /// Messages of a channel that may be under way.
    public let slotCount: Int
    /// Largest message, as its values count in f32.
    package let maximumByteCount: Int
    /// How long a send or a receive may wait.
    public let limit: Duration

    private let fabric: any Fabric
    private let window: Window
    /// Messages sent and taken so far, per rank and channel.
    private var sent: [UInt64]
    private var taken: [UInt64]

    /// Shape and codec go before the bytes.
    private static let headBytes = 64

    /// Makes the windows. Collective.
    ///
    /// - Parameters:
    ///   - maximumCount: Values of the largest tensor.
    public init(
        fabric: any Fabric, name: String = "channels", channelCount: Int = 2, slotCount: Int = 2,
        maximumCount: Int, limit: Duration = .seconds(60)
    ) throws {
        precondition(channelCount >= 1 && slotCount >= 1, "\(channelCount) and \(slotCount)")
        self.fabric = fabric
        self.channelCount = channelCount
        self.slotCount = slotCount
        self.limit = limit
        maximumByteCount = RowCodec.float32.byteCount(columns: maximumCount)
        let slot = Self.slotBytes(maximumByteCount)
        let ranks = fabric.rankCount
        let nodes = Set(fabric.ranks.map { fabric.node(of: $0) })
        window = try fabric.makeWindow(
            name: name, byteCount: ranks * channelCount * slotCount * slot,
            signalCount: 2 * ranks * channelCount,
            stagingByteCount: nodes.count > 1 ? ranks * channelCount * slotCount * slot : 0,
            deadline: fabric.deadline(limit, "making the windows of channels"))
        sent = [UInt64](repeating: 0, count: ranks * channelCount)
        taken = sent
    }

    /// Sends a tensor.
    ///
    /// What goes to another node is staged at the place that its slot has there, so that a staged
    /// message is overwritten only once the receiver took it.
    ///
    /// - Parameter codec: How its rows travel; both sides name the same.
    /// - Throws: `TransportError.rankLost` or `.deadline` while all slots are full.
    public func send(
        _ tensor: Tensor, to rank: Rank, channel: Int = 0, codec: RowCodec = .float32
    ) throws {
        let bytes = codec.byteCount(columns: tensor.columns) * tensor.rows
        guard bytes <= maximumByteCount else {
            throw CollectivesError.limit(
                "message bytes", value: bytes, range: 0 ... maximumByteCount,
                origin: "maximumCount of the channels")
        }
        let line = lineIndex(rank, channel)
        let deadline = fabric.deadline(limit, "send")
        if sent[line] >= UInt64(slotCount) {
            try window.wait(
                signal: takenSignal(from: rank, channel),
                atLeast: sent[line] - UInt64(slotCount) + 1, from: rank, deadline: deadline)
        }
        let there = slotOffset(fabric.rank, channel, sent[line])
        let length = Self.headBytes + bytes
        let stored: Void? = window.withPeerBytes(of: rank, there ..< there + length) {
            Self.write(tensor, codec, into: &$0)
        }
        if stored == nil {
            let start = slotOffset(rank, channel, sent[line])
            window.withStaging(start ..< start + length) { Self.write(tensor, codec, into: &$0) }
            try window.put(start ..< start + length, to: rank, at: there)
        }
        sent[line] += 1
        try window.signal(
            sentSignal(from: fabric.rank, channel), of: rank, value: sent[line])
    }

    /// Whether a message is there, so that `receive` would not wait.
    package func hasArrived(from rank: Rank, channel: Int = 0) -> Bool {
        window.signalValue(sentSignal(from: rank, channel))
            > taken[lineIndex(rank, channel)]
    }

    /// Takes the next message of a channel.
    ///
    /// - Parameter tensor: Of the shape that was sent.
    public func receive(
        into tensor: Tensor, from rank: Rank, channel: Int = 0, codec: RowCodec = .float32
    ) throws {
        let line = lineIndex(rank, channel)
        try window.wait(
            signal: sentSignal(from: rank, channel), atLeast: taken[line] + 1,
            from: rank, deadline: fabric.deadline(limit, "receive"))
        let start = slotOffset(rank, channel, taken[line])
        let row = codec.byteCount(columns: tensor.columns)
        let length = Self.headBytes + min(row * tensor.rows, maximumByteCount)
        try window.withBytes(start ..< start + length) { bytes in
            let found = (0 ..< 3).map { Int(truncatingIfNeeded: bytes.word(at: 8 * $0)) }
            let expected = [tensor.rows, tensor.columns, row]
            guard found == expected else {
                throw CollectivesError.shape(
                    "message from \(rank), channel \(channel)", found: found, expected: expected)
            }
            for index in 0 ..< tensor.rows {
                var target = tensor.mutableRow(index)
                codec.decode(bytes, at: Self.headBytes + index * row, into: &target)
            }
        }
        taken[line] += 1
        try window.signal(
            takenSignal(from: fabric.rank, channel), of: rank, value: taken[line])
    }

    private static func write(
        _ tensor: Tensor, _ codec: RowCodec, into bytes: inout MutableRawSpan
    ) {
        let row = codec.byteCount(columns: tensor.columns)
        bytes.setWord(UInt64(tensor.rows), at: 0)
        bytes.setWord(UInt64(tensor.columns), at: 8)
        bytes.setWord(UInt64(row), at: 16)
        for index in 0 ..< tensor.rows {
            codec.encode(tensor.row(index), into: &bytes, at: headBytes + index * row)
        }
    }

    private static func slotBytes(_ maximumByteCount: Int) -> Int {
        (headBytes + maximumByteCount + 4095) / 4096 * 4096
    }

    private func lineIndex(_ rank: Rank, _ channel: Int) -> Int {
        precondition(channel >= 0 && channel < channelCount, "channel \(channel)")
        return rank.rawValue * channelCount + channel
    }

    private func slotOffset(_ rank: Rank, _ channel: Int, _ message: UInt64) -> Int {
        let index = lineIndex(rank, channel) * slotCount + Int(message % UInt64(slotCount))
        return index * Self.slotBytes(maximumByteCount)
    }

    /// Set by a sender at the receiver: messages that it sent.
    private func sentSignal(from rank: Rank, _ channel: Int) -> Int {
        2 * lineIndex(rank, channel)
    }

    /// Set by a receiver at the sender: messages that it took.
    private func takenSignal(from rank: Rank, _ channel: Int) -> Int {
        2 * lineIndex(rank, channel) + 1
    }
}
