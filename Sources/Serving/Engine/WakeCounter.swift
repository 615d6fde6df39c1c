import Synchronization

/// Hands out growing numbers, one caller at a time.
final class WakeCounter: Sendable {
    private let count = Mutex<UInt64>(0)

    /// Calls `body` with the next number before any caller gets the one after it.
    func next(_ body: (UInt64) -> Void) {
        count.withLock {
            $0 += 1
            body($0)
        }
    }
}
