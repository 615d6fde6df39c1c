/// A window as a core sees it.
struct RegisteredWindow: Sendable {
    let identifier: Int
    let memory: WindowMemory
    let staging: WindowMemory?

    /// What is checked of a put into the window.
    var size: WindowSize {
        WindowSize(byteCount: memory.byteCount, signalCount: memory.signalCount)
    }
}
