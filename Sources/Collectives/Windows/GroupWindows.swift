internal import Tensors
internal import Topology
internal import Transport

/// The windows of a group's ranks, as its exchanges read and write them.
struct GroupWindows {
    /// This rank.
    let rank: Rank
    /// This rank's window, through which it reaches the others'.
    let window: Window
    /// Where everything lies in each rank's window.
    let maps: PerRank<WindowMap>
    let configuration: ExpertParallelConfiguration
    /// The time of the fabric.
    let clock: FabricClock

    /// Where everything lies in this rank's window.
    var own: WindowMap { maps[rank] }

    /// Reads bytes of the window of a rank on this node.
    @inline(__always)
    func read<R>(
        _ rank: Rank, _ range: Range<Int>, _ body: (RawSpan) throws -> R
    ) rethrows -> R {
        if rank == self.rank { return try window.withBytes(range, body) }
        let result = try window.withPeerBytes(of: rank, range) { bytes in try body(bytes.bytes) }
        guard let result else {
            preconditionFailure("stores do not reach \(rank) of this node")
        }
        return result
    }

    /// Writes bytes of the window of a rank on this node.
    @inline(__always)
    func write(_ rank: Rank, _ range: Range<Int>, _ body: (inout MutableRawSpan) -> Void) {
        if rank == self.rank { return window.withMutableBytes(range, body) }
        guard window.withPeerBytes(of: rank, range, body) != nil else {
            preconditionFailure("stores do not reach \(rank) of this node")
        }
    }

    func deadline(_ phase: StaticString) -> Deadline {
        Deadline(configuration.limit, phase, clock: clock)
    }
}
