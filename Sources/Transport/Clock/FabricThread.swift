import CFabric
import Glibc
import Synchronization

/// A thread of the fabric's own, which must be joined.
///
/// Safe because the handle is written once, before the object is shared.
@safe final class FabricThread: @unchecked Sendable {
    private var handle = pthread_t()
    private let clock: FabricClock
    /// Apart from the body, which must go with the thread: it may own sockets.
    private let ending = Ending()

    /// Starts `body`; `name` shows in `top -H`, at most 15 bytes. The thread takes part in the
    /// clock's time.
    init(
        _ name: String, clock: FabricClock = .system, _ body: @escaping @Sendable () -> Void
    ) throws(TransportError) {
        self.clock = clock
        let number = clock.time?.threadBegins() ?? 0
        let work = Work(name: name, clock: clock, number: number, ending: ending, body: body)
        let retained = unsafe Unmanaged.passRetained(work)
        let status = unsafe pthread_create(
            &handle, nil, { unsafe runWork($0) }, retained.toOpaque())
        guard status == 0 else {
            unsafe retained.release()
            clock.time?.threadEnds(number)
            throw .call("pthread_create", status: unsafe String(cString: strerror(status)))
        }
    }

    /// Waits for the body to return.
    func join() {
        let ending = ending
        clock.time?.waitForEnd { !ending.isReached.load(ordering: .acquiring) }
        pthread_join(handle, nil)
    }
}

/// Whether a body has returned.
private final class Ending: Sendable {
    let isReached = Atomic<Bool>(false)
}

private final class Work: Sendable {
    let name: String
    let clock: FabricClock
    let number: Int
    let body: @Sendable () -> Void
    let ending: Ending

    init(
        name: String, clock: FabricClock, number: Int, ending: Ending,
        body: @escaping @Sendable () -> Void
    ) {
        self.name = name
        self.clock = clock
        self.number = number
        self.ending = ending
        self.body = body
    }
}

private func runWork(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument = unsafe argument else { return nil }
    let work = unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
    unsafe fabric_name_thread(work.name)
    work.clock.time?.threadRuns(work.number)
    work.body()
    work.ending.isReached.store(true, ordering: .releasing)
    work.clock.time?.threadEnds(work.number)
    return nil
}
