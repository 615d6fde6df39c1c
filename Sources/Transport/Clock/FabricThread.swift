import CFabric
import Glibc
import Synchronization

/// A thread of the fabric's own, which must be joined.
///
/// Safe because the handle is written once, before the object is shared.
@safe final class FabricThread: @unchecked Sendable {
    private var handle = pthread_t()
    private let work: Work

    /// Starts `body`; `name` shows in `top -H`, at most 15 bytes. The thread takes part in the
    /// clock's time.
    init(
        _ name: String, clock: FabricClock = .system, _ body: @escaping @Sendable () -> Void
    ) throws(TransportError) {
        let number = clock.time?.threadBegins() ?? 0
        work = Work(name: name, clock: clock, number: number, body: body)
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
        let work = work
        work.clock.time?.waitForEnd { !work.hasEnded.load(ordering: .acquiring) }
        pthread_join(handle, nil)
    }
}

private final class Work: Sendable {
    let name: String
    let clock: FabricClock
    let number: Int
    let body: @Sendable () -> Void
    let hasEnded = Atomic<Bool>(false)

    init(
        name: String, clock: FabricClock, number: Int, body: @escaping @Sendable () -> Void
    ) {
        self.name = name
        self.clock = clock
        self.number = number
        self.body = body
    }
}

private func runWork(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument = unsafe argument else { return nil }
    let work = unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
    unsafe fabric_name_thread(work.name)
    work.clock.time?.threadRuns(work.number)
    work.body()
    work.hasEnded.store(true, ordering: .releasing)
    work.clock.time?.threadEnds(work.number)
    return nil
}
