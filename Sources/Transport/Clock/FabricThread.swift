import CFabric
import Glibc

/// A thread of the fabric's own, which must be joined.
///
/// Safe because the handle is written once, before the object is shared.
@safe final class FabricThread: @unchecked Sendable {
    private var handle = pthread_t()

    /// Starts `body`; `name` shows in `top -H`, at most 15 bytes. The thread takes part in the
    /// clock's time.
    init(
        _ name: String, clock: FabricClock = .system, _ body: @escaping @Sendable () -> Void
    ) throws(TransportError) {
        let work = unsafe Unmanaged.passRetained(Work(name: name, clock: clock, body: body))
        clock.time?.threadBegins()
        let status = unsafe pthread_create(
            &handle, nil, { unsafe runWork($0) }, work.toOpaque())
        guard status == 0 else {
            unsafe work.release()
            clock.time?.threadEnds()
            throw .call("pthread_create", status: unsafe String(cString: strerror(status)))
        }
    }

    /// Waits for the body to return.
    func join() { pthread_join(handle, nil) }
}

private final class Work: Sendable {
    let name: String
    let clock: FabricClock
    let body: @Sendable () -> Void

    init(name: String, clock: FabricClock, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.clock = clock
        self.body = body
    }
}

private func runWork(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument = unsafe argument else { return nil }
    let work = unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
    unsafe fabric_name_thread(work.name)
    work.body()
    work.clock.time?.threadEnds()
    return nil
}
