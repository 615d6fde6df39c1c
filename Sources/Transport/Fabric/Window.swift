import CFabric
import Glibc
public import Topology

/// Memory of a rank that other ranks write into, and its view of their windows.
///
/// The sender stores bytes, then a signal. The receiver waits for the signal, then reads the bytes.
/// A signal is a 64-bit word that only grows: a sequence number or a count.
///
/// Invariants:
/// 1. A signal is visible only after the bytes of its own put and of every earlier put by the same
///    rank into this window.
/// 2. Each signal has one writer. Two ranks that signal one receiver use two signals.
/// 3. What was put from staging stays unchanged until `flush`.
///
/// Safe because every field is constant after `init`; the memory is ordered by the signals.
@safe public final class Window: @unchecked Sendable {
    /// The name that all ranks gave it.
    public let name: String
    /// Counts the windows of a fabric from 0; the same on all ranks.
    let identifier: Int
    let memory: WindowMemory
    /// By rank; nil where this rank cannot map it.
    let peers: [WindowMemory?]
    let sizes: [WindowSize]
    let staging: WindowMemory?
    let fabric: RankFabric

    init(
        name: String, identifier: Int, memory: WindowMemory, peers: [WindowMemory?],
        sizes: [WindowSize], staging: WindowMemory?, fabric: RankFabric
    ) {
        self.name = name
        self.identifier = identifier
        self.memory = memory
        self.peers = peers
        self.sizes = sizes
        self.staging = staging
        self.fabric = fabric
    }

    deinit { fabric.release(window: identifier) }

    /// Bytes of this rank's window.
    public var byteCount: Int { memory.byteCount }
    /// Bytes of another rank's window.
    public func byteCount(of rank: Rank) -> Int { sizes[rank.rawValue].byteCount }
    /// Signal words of another rank's window.
    public func signalCount(of rank: Rank) -> Int { sizes[rank.rawValue].signalCount }

    /// Reads this rank's own bytes.
    @inline(__always)
    public func withBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (RawSpan) throws(E) -> R
    ) throws(E) -> R {
        try memory.withBytes(range, body)
    }

    /// Writes this rank's own bytes, as when it is its own destination.
    @inline(__always)
    public func withMutableBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> R
    ) throws(E) -> R {
        try memory.withMutableBytes(range, body)
    }

    /// Writes straight into another rank's window, where stores reach it.
    ///
    /// Follow with `signal(_:of:value:)`, which publishes the bytes.
    ///
    /// - Returns: nil, and does not call `body`, where they do not: put from staging instead.
    @inline(__always)
    public func withPeerBytes<R, E: Error>(
        of rank: Rank, _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> R
    ) throws(E) -> R? {
        guard fabric.storesReach(rank), let peer = peers[rank.rawValue] else { return nil }
        return try peer.withMutableBytes(range, body)
    }

    /// Fills memory that `put` sends from.
    ///
    /// - Precondition: the range lies in the staging memory that the window was made with.
    @inline(__always)
    public func withStaging<R, E: Error>(
        _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> R
    ) throws(E) -> R {
        guard let staging else { preconditionFailure("window \(name) has no staging memory") }
        return try staging.withMutableBytes(range, body)
    }

    /// Copies staged bytes into a rank's window, then sets a signal there.
    ///
    /// Returns when the operation is posted; the bytes must stay unchanged until `flush`.
    ///
    /// - Parameters:
    ///   - range: In staging memory; empty sends the signal alone.
    ///   - rank: The receiver; may be this rank.
    ///   - offset: Where in the receiver's window.
    ///   - signal: The receiver's signal to set once the bytes are there; nil sets none, and a
    ///     later signal to the same rank publishes them.
    ///   - value: What the signal becomes.
    public func put(
        _ range: Range<Int>, to rank: Rank, at offset: Int, signal: Int? = nil, value: UInt64 = 0
    ) throws(TransportError) {
        let size = sizes[rank.rawValue]
        precondition(
            offset >= 0 && offset + range.count <= size.byteCount,
            "put of \(range.count) bytes at \(offset) of \(size.byteCount) in \(name)")
        if let signal { precondition(signal >= 0 && signal < size.signalCount, "signal \(signal)") }
        if let peer = peers[rank.rawValue] {
            if let source = unsafe stagedBytes(range) {
                unsafe memcpy(peer.bytes + offset, source, range.count)
            }
            if let signal { publish(signal, of: rank, in: peer, value) }
            return
        }
        try fabric.remote(rank).put(
            unsafe Put(
                rank: rank, source: stagedBytes(range), byteCount: range.count,
                window: identifier, offset: offset, signal: signal, value: value))
    }

    /// Where a staged range lies, for an engine; nil for an empty one.
    func stagedBytes(_ range: Range<Int>) -> UnsafeRawPointer? {
        if range.isEmpty { return nil }
        staging.orFail(name).check(range)
        return unsafe UnsafeRawPointer(staging.orFail(name).bytes + range.lowerBound)
    }

    /// Sets a signal of a rank, after every byte stored or put there before.
    public func signal(_ index: Int, of rank: Rank, value: UInt64) throws(TransportError) {
        if let peer = peers[rank.rawValue] {
            publish(index, of: rank, in: peer, value)
        } else {
            try put(0 ..< 0, to: rank, at: 0, signal: index, value: value)
        }
    }

    @inline(__always)
    private func publish(_ index: Int, of rank: Rank, in peer: WindowMemory, _ value: UInt64) {
        peer.setSignal(index, value)
        fabric.ring(rank)
    }

    /// What a signal of this rank says now.
    public func signalValue(_ index: Int) -> UInt64 { memory.signal(index) }

    /// Returns when everything put by this rank left its staging memory, which may then change.
    public func flush(deadline: Deadline) throws(TransportError) {
        try fabric.flush(deadline: deadline)
    }
}

extension Optional<WindowMemory> {
    fileprivate func orFail(_ name: String) -> WindowMemory {
        guard let self else { preconditionFailure("window \(name) has no staging memory") }
        return self
    }
}
