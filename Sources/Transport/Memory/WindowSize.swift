/// What a rank announced of its window.
struct WindowSize: Sendable {
    let byteCount: Int
    let signalCount: Int
}
