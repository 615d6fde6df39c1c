import Models
import Synchronization

/// The entries of one prompt on their way out of a prefill rank.
///
/// The engine's thread says how far they are computed; a link's thread reads them.
///
/// 1. No block is read once `abort` has returned.
final class HandoverTransfer: Sendable {
    let order: PrefillOrder
    private let isAborted = Mutex(false)

    init(_ order: PrefillOrder) { self.order = order }

    /// Lets the blocks go.
    func abort() { isAborted.withLock { $0 = true } }

    /// Reads blocks, unless they were let go.
    ///
    /// - Returns: Whether `body` was called.
    func reading<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) -> Bool {
        try isAborted.withLock { aborted throws(Failure) in
            if aborted { return false }
            try body()
            return true
        }
    }
}

/// Blocks of a prompt that are complete: what a link sends next.
struct HandoverBatch: Sendable {
    let transfer: HandoverTransfer
    /// The blocks, and which ones of the text they are.
    let blocks: [BlockID]
    let first: Int
    /// Positions of the prompt that are in these blocks or before them.
    let end: Int
    let cachedTokens: Int
    /// Whether the prompt ends with it.
    let isLast: Bool
}
