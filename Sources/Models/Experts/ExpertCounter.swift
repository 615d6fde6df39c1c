import Synchronization
public import Topology

/// Counts which routed experts the gates of a model choose, for those who place experts.
///
/// The thread of steps adds once per layer and batch; any other thread takes what was counted. Both
/// hold the lock for a few additions, so neither waits for the other.
public final class ExpertCounter: Sendable {
    private let empty: ExpertCounts
    private let counts: Mutex<ExpertCounts>

    init(_ shape: ModelConfiguration) {
        empty = ExpertCounts(
            layerCount: shape.layerCount + shape.mtpLayerCount,
            expertCount: shape.routedExpertCount)
        counts = Mutex(empty)
    }

    /// - Parameter experts: `[tokens, topK]`, what the gate of a layer chose.
    func add(_ experts: [Int32], layer: Int) {
        counts.withLock { $0.add(experts, layer: layer) }
    }

    /// What was chosen since the last call; nil if nothing was.
    public func take() -> ExpertCounts? {
        let taken = counts.withLock { counts in
            defer { counts = empty }
            return counts
        }
        return taken.isEmpty ? nil : taken
    }
}
