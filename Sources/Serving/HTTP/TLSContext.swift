import CTLS
import Foundation
import Topology

/// A certificate and its key, as the sessions of connections use them.
final class TLSContext: Sendable {
    fileprivate let handle: UInt
    /// When the certificate ends to hold.
    let ends: Date

    /// Reads and checks the files.
    ///
    /// - Throws: `ServingError.configuration` with the file and the fact: one that cannot be read,
    ///   a key that others may use, a key of another certificate, a certificate that does not
    ///   hold now.
    init(_ settings: TLSSettings, now: Date) throws(ServingError) {
        func fail(_ fact: String) -> ServingError { .configuration(message: "tls.\(fact)") }
        do throws(InputError) {
            try InputFile.checkIsPrivate(
                settings.key, environment: ProcessInfo.processInfo.environment)
        } catch {
            throw fail("key \(settings.key) \(error)")
        }
        for (name, path) in [("certificate", settings.certificate), ("key", settings.key)] {
            do throws(InputError) { _ = try InputFile.text(of: path) } catch {
                throw fail("\(name) \(path): \(error)")
            }
        }
        var reason = TLSReason()
        handle = tls_context_make(
            settings.certificate, settings.key, &reason.place, reason.place.count)
        guard handle != 0 else {
            throw fail(
                "certificate \(settings.certificate) and tls.key \(settings.key) cannot be used: "
                    + reason.text)
        }
        let begins = Date(timeIntervalSince1970: TimeInterval(tls_context_begins(handle)))
        ends = Date(timeIntervalSince1970: TimeInterval(tls_context_ends(handle)))
        guard begins <= now, now < ends else {
            throw fail(
                "certificate \(settings.certificate) holds from \(begins.formatted(.iso8601)) to "
                    + "\(ends.formatted(.iso8601)), and now it is \(Self.day(now))")
        }
    }

    /// A day, so that the fact stays one and the same until midnight.
    private static func day(_ date: Date) -> String {
        date.formatted(.iso8601.year().month().day())
    }

    deinit { tls_context_free(handle) }
}

/// The library's reason for a refusal.
private struct TLSReason {
    var place = [CChar](repeating: 0, count: 256)

    var text: String {
        let words = place.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: words, as: UTF8.self)
    }
}

/// A server's side of one connection: bytes of the client in, bytes for the client out.
///
/// Used by the connection's event loop alone.
final class TLSSession {
    /// What became of a step.
    enum Step: Equatable {
        /// So many bytes were read.
        case bytes(Int)
        case done
        /// More bytes of the client are needed.
        case waits
        /// The client has ended its side in order.
        case closed
        case failed
        /// The client speaks HTTP without TLS.
        case plainHTTP
    }

    /// Bytes that one record of TLS carries.
    static let recordBytes = 16 << 10

    private let handle: UInt

    /// - Throws: `ServingError.engine` without memory.
    init(_ context: TLSContext) throws(ServingError) {
        handle = tls_session_make(context.handle)
        guard handle != 0 else { throw .engine(message: "no memory for a session of TLS") }
    }

    deinit { tls_session_free(handle) }

    /// Takes in what the client sent; false without memory.
    func feed(_ bytes: [UInt8]) -> Bool { tls_session_feed(handle, bytes, bytes.count) }

    func handshake() -> Step { Self.step(Int(tls_session_handshake(handle))) ?? .done }

    /// Why the step just before failed.
    var reason: String {
        var reason = TLSReason()
        tls_reason(&reason.place, reason.place.count)
        return reason.text
    }

    /// Puts what the client said, up to one record, at the beginning of `place`.
    func read(into place: inout [UInt8]) -> Step {
        let count = tls_session_read(handle, &place, place.count)
        return Self.step(count) ?? .bytes(count)
    }

    /// Seals what is to be said; false if the session cannot.
    func write(_ bytes: [UInt8]) -> Bool { tls_session_write(handle, bytes, bytes.count) }

    /// Says that no more will be said.
    func close() { tls_session_close(handle) }

    /// The next bytes for the client; empty when there are none.
    func take() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.recordBytes)
        let count = tls_session_take(handle, &bytes, bytes.count)
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// A result that is no count of bytes.
    private static func step(_ result: Int) -> Step? {
        switch result {
        case 1...: nil
        case 0: .waits
        case -1: .closed
        case -3: .plainHTTP
        default: .failed
        }
    }
}
