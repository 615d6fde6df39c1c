import Foundation

/// Standard input as a sign of life of the process that started us: it closes when that process is
/// gone, however it ended.
public enum Lifeline {
    /// Calls `cut` once when standard input closes.
    public static func watch(_ cut: @escaping @Sendable () -> Void) {
        Thread.detachNewThread {
            // Nothing is ever written to it; an error is as good as an end.
            while let bytes = try? FileHandle.standardInput.read(upToCount: 64), !bytes.isEmpty {}
            cut()
        }
    }
}
