import Dispatch
import Foundation
import Glibc
import Topology

/// Raised when the process is asked to end: Ctrl-C, SIGTERM, or a closed terminal.
///
/// Safe because the condition guards the mutable fields, and the sources are only kept alive.
public final class StopFlag: @unchecked Sendable {
    private let condition = NSCondition()
    private var signalNumber: Int32?
    private var requestCount = 0
    private var sources: [any DispatchSourceSignal] = []
    private static let numbers = [SIGINT, SIGTERM] + (ignoresHangup ? [] : [SIGHUP])

    /// A flag nobody has raised.
    public init() {}

    /// A flag that SIGINT, SIGTERM and SIGHUP raise from now on.
    ///
    /// SIGHUP stays ignored where the program began so, as under `nohup`, and in programs that one
    /// with a flag starts: these end with it. Before this call a signal ends the program, so that
    /// input is read before it.
    public static func onSignals() -> StopFlag {
        let flag = StopFlag()
        let queue = DispatchQueue(label: "apus.signals")
        for number in numbers {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { [weak flag] in flag?.raise(number) }
            source.resume()
            flag.sources.append(source)
        }
        return flag
    }

    /// Whether SIGHUP was ignored before a flag took it: the kernel's mask of ignored signals has
    /// its bit.
    private static let ignoresHangup: Bool = {
        let word = SystemFiles().word("SigIgn:", in: "proc/self/status")
        let mask = word.flatMap { UInt64($0, radix: 16) } ?? 0
        return mask >> UInt64(SIGHUP - 1) & 1 == 1
    }()

    /// Lets the signals of `onSignals` end the program again, for what waits where no flag is
    /// read.
    public static func letSignalsEnd() { for number in numbers { signal(number, SIG_DFL) } }

    /// Raises the flag; the number of the first call is kept, and every call is counted.
    public func raise(_ number: Int32) {
        condition.lock()
        defer { condition.unlock() }
        if signalNumber == nil { signalNumber = number }
        requestCount += 1
        condition.broadcast()
    }

    /// Raises the flag until it was raised so often, counting what others did before.
    public func raise(_ number: Int32, to requests: Int) {
        condition.lock()
        defer { condition.unlock() }
        guard requestCount < requests else { return }
        if signalNumber == nil { signalNumber = number }
        requestCount = requests
        condition.broadcast()
    }

    /// True once raised.
    public var isRaised: Bool { raisedBy != nil }

    /// How often it was raised: who asks again is in a hurry.
    public var requests: Int {
        condition.lock()
        defer { condition.unlock() }
        return requestCount
    }

    /// The signal that raised it first.
    public var raisedBy: Int32? {
        condition.lock()
        defer { condition.unlock() }
        return signalNumber
    }

    /// Sleeps for a while, less if the flag is raised meanwhile.
    ///
    /// - Parameter seen: Requests that the caller knows of, which do not wake it.
    public func wait(_ seconds: Double, after seen: Int = 0) {
        condition.lock()
        defer { condition.unlock() }
        if requestCount <= seen { _ = condition.wait(until: Date(timeIntervalSinceNow: seconds)) }
    }
}
