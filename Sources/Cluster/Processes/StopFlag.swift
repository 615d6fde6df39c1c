import Dispatch
import Foundation
import Glibc

/// Raised once when the process is asked to end: Ctrl-C, SIGTERM, or a closed terminal.
///
/// Safe because the condition guards the only mutable field, and the sources are only kept alive.
public final class StopFlag: @unchecked Sendable {
    private let condition = NSCondition()
    private var signalNumber: Int32?
    private var sources: [any DispatchSourceSignal] = []

    /// A flag nobody has raised.
    public init() {}

    /// A flag that SIGINT, SIGTERM and SIGHUP raise from now on; a second one ends the process.
    public static func onSignals() -> StopFlag {
        let flag = StopFlag()
        let queue = DispatchQueue(label: "apus.signals")
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { [weak flag] in flag?.raise(number) }
            source.resume()
            flag.sources.append(source)
        }
        return flag
    }

    /// Raises the flag; the first call counts.
    public func raise(_ number: Int32) {
        condition.lock()
        defer { condition.unlock() }
        if signalNumber == nil { signalNumber = number }
        condition.broadcast()
    }

    /// True once raised.
    public var isRaised: Bool { raisedBy != nil }

    /// The signal that raised it.
    public var raisedBy: Int32? {
        condition.lock()
        defer { condition.unlock() }
        return signalNumber
    }

    /// Sleeps for a while, less if the flag is raised meanwhile.
    public func wait(_ seconds: Double) {
        condition.lock()
        defer { condition.unlock() }
        if signalNumber == nil { _ = condition.wait(until: Date(timeIntervalSinceNow: seconds)) }
    }
}
