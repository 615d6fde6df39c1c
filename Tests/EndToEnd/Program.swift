import Foundation

/// A program of a test, whose end is known whole: `isRunning` turns false before status and reason
/// are set.
final class Program: Process, @unchecked Sendable {
    /// Signalled once both are set. Safe because nothing else is added to the process.
    private let ended = DispatchSemaphore(value: 0)

    override func run() throws {
        terminationHandler = { [ended] _ in ended.signal() }
        try super.run()
    }

    /// Whether it has a connection to a port.
    func isConnected(to port: Int) -> Bool {
        ProcessFiles.sockets(of: processIdentifier).contains {
            $0.isConnected && $0.peerPort == port
        }
    }

    /// The exit status, or 128 + signal; nil when the program does not end in time.
    func exitStatus(within seconds: Double) -> Int32? {
        guard ended.wait(timeout: .now() + seconds) == .success else { return nil }
        // It stays ended for who asks next.
        ended.signal()
        return terminationReason == .exit ? terminationStatus : 128 + terminationStatus
    }
}
