import Topology

/// The windows of this rank that puts may come into.
///
/// Invariant: a header is checked here before a byte of its put, or its signal, is written.
struct WindowTable {
    private var windows: [RegisteredWindow?] = []

    mutating func register(_ window: RegisteredWindow) {
        while windows.count <= window.identifier { windows.append(nil) }
        windows[window.identifier] = window
    }

    /// Forgets a window that its rank no longer holds, and returns it.
    mutating func release(_ identifier: Int) -> RegisteredWindow? {
        guard windows.indices.contains(identifier) else { return nil }
        defer { windows[identifier] = nil }
        return windows[identifier]
    }

    /// A window by its number, if its rank still holds it.
    subscript(identifier: Int) -> RegisteredWindow? {
        windows.indices.contains(identifier) ? windows[identifier] : nil
    }

    /// The window that a header names, once its put of `byteCount` bytes was checked.
    ///
    /// - Returns: nil for a window that was released: late puts into it are dropped.
    func target(of header: PutHeader, byteCount: Int) throws(PutFault) -> RegisteredWindow? {
        guard Int(header.window) < windows.count else {
            throw PutFault(fact: "a put into window \(header.window) of \(windows.count)")
        }
        guard let window = windows[Int(header.window)] else { return nil }
        if let fault = header.fault(byteCount: byteCount, window: window.size) {
            throw PutFault(fact: fault)
        }
        return window
    }

    /// Sets a signal, and wakes the rank's waits; a released window's signal is dropped.
    func publish(_ publication: PutOrder.Publication, ringing control: ControlBlock) {
        guard let window = self[Int(publication.window)] else { return }
        window.memory.setSignal(Int(publication.signal), publication.value)
        control.ring()
    }
}
