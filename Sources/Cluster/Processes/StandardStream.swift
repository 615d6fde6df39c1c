import Foundation
import Glibc
public import Topology

/// Standard output or standard error, written at once and never buffered: the
/// reader of a pipe or a file sees a line when it is written, and the line outlives a kill.
public enum StandardStream: Sendable {
    /// What a command has to say.
    case output
    /// What it has to say about itself.
    case error

    /// Writes text.
    ///
    /// - Throws: `StreamError` when nobody reads, or the device is full.
    public func write(_ text: String) throws(StreamError) {
        let handle = self == .output ? FileHandle.standardOutput : FileHandle.standardError
        do {
            try handle.write(contentsOf: Data(text.utf8))
        } catch {
            let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
            throw StreamError(code: cause.map { Int32($0.code) } ?? errno)
        }
    }

    /// Writes text that may be lost: a log or a last word, where nobody is left to be told that it
    /// could not be written.
    public func say(_ text: String) { try? write(text) }

    /// Sends off what `print` holds back.
    ///
    /// - Throws: `StreamError` when nobody reads, or the device is full.
    public static func flush() throws(StreamError) {
        if fflush(nil) != 0 { throw StreamError(code: errno) }
    }
}

/// Standard output does not take what is written to it.
public struct StreamError: ProgramError, Equatable, Sendable, CustomStringConvertible {
    let code: Int32

    /// Whether the other end of a pipe is closed, as `head` does when it has seen enough.
    public var isClosedPipe: Bool { code == EPIPE }

    /// A closed pipe ends a program as the signal would have.
    public var exitStatus: ExitStatus { isClosedPipe ? .signal(SIGPIPE) : .failed }

    private var cause: String {
        NSError(domain: NSPOSIXErrorDomain, code: Int(code)).localizedFailureReason
            ?? "error \(code)"
    }

    /// The fact in the system's words.
    public var description: String {
        "standard output cannot be written: \(cause)"
    }
}
