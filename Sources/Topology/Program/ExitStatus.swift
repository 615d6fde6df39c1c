/// How a program of this package ends, for people, scripts and the launcher.
///
/// This is the only table of exit codes. It stands in the ground room because every room with
/// errors states which of these its errors mean, and all three programs exit with them.
public enum ExitStatus: Hashable, Sendable {
    /// The work is done, or a person stopped a job that serves: 0.
    case done
    /// Wrong data, a failed check, or an error after the start: 1.
    case failed
    /// The arguments, a file or the machine do not allow the work: 2.
    case badInput
    /// A rank was lost, or a deadline passed: 3.
    case lost
    /// A signal ended the program or asked it to end: 128 + the signal's number, as a shell says.
    case signal(Int32)

    /// The number that the system sees.
    public var code: Int32 {
        switch self {
        case .done: 0
        case .failed: 1
        case .badInput: 2
        case .lost: 3
        case .signal(let number): Self.firstSignal + number
        }
    }

    /// The status with this number, or nil if no program of this package ends with it.
    public init?(code: Int32) {
        switch code {
        case 0: self = .done
        case 1: self = .failed
        case 2: self = .badInput
        case 3: self = .lost
        case Self.firstSignal + 1 ... Self.firstSignal + Self.lastSignal:
            self = .signal(code - Self.firstSignal)
        default: return nil
        }
    }

    /// What a program that fails with `error` ends with.
    ///
    /// - Parameter otherwise: For errors that do not say, as those of other packages.
    public init(of error: any Error, otherwise: ExitStatus = .failed) {
        self = (error as? any ProgramError)?.exitStatus ?? otherwise
    }

    private static let firstSignal: Int32 = 128
    /// Linux has 64 signals.
    private static let lastSignal: Int32 = 64
}

/// An error that knows how a program ends which it stops.
public protocol ProgramError: Error {
    /// What the program exits with.
    var exitStatus: ExitStatus { get }
}
