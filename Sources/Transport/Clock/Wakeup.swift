import CFabric
import Glibc

/// Owns an event descriptor, by which one thread wakes another out of a wait for descriptors.
final class Wakeup: Sendable {
    /// Readable from `ring` until `clear`.
    let descriptor: Int32
    private let clock: FabricClock

    init(clock: FabricClock) throws(TransportError) {
        descriptor = fabric_eventfd()
        guard descriptor >= 0 else { throw .system("eventfd") }
        self.clock = clock
    }

    deinit { Glibc.close(descriptor) }

    /// Wakes the thread that waits, or that waits next.
    func ring() {
        fabric_eventfd_ring(descriptor)
        clock.changed()
    }

    /// Makes the descriptor unreadable until the next ring.
    func clear() { fabric_eventfd_clear(descriptor) }
}
