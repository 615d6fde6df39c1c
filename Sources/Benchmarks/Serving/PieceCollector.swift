import Synchronization

/// Puts the pieces of a streamed answer together.
final class PieceCollector: Sendable {
    private let pieces = Mutex("")

    /// What has come so far.
    var text: String { pieces.withLock { $0 } }

    /// Takes the next piece.
    func add(_ piece: String) { pieces.withLock { $0 += piece } }
}
