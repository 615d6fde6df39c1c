import Foundation
import Logging
import Synchronization

/// The certificate that new connections get, which is read again when its files change.
///
/// Files that cannot be used change nothing: the certificate of before stays.
final class ServerCertificate: Sendable {
    private let settings: TLSSettings
    private let log: Logger
    private let watch: FileWatch
    private let context: Mutex<TLSContext>
    /// When the log last warned of a certificate that ends soon.
    private let reminded = Mutex<Date?>(nil)

    private let failures = Mutex(Failures())

    /// Handshakes that failed.
    private struct Failures {
        var logged: ContinuousClock.Instant?
        var unlogged = 0
    }

    /// Between two lines about handshakes: anybody can make them fail.
    private static let failurePause = Duration.seconds(60)
    /// Long enough for somebody to see why no new one came: renewals come a month ahead.
    private static let daysAhead = 14.0
    private static let day = 86400.0

    /// - Throws: `ServingError.configuration` as `TLSContext` has it.
    init(_ settings: TLSSettings, log: Logger) throws(ServingError) {
        self.settings = settings
        self.log = log
        watch = FileWatch([settings.certificate, settings.key])
        context = Mutex(try TLSContext(settings, now: .now))
    }

    /// What a new connection is sealed with.
    var current: TLSContext { context.withLock { $0 } }

    /// Checks whether the files changed; called about once a second.
    func poll() { watch.poll { self.readAgain() } }

    /// Seconds until the certificate ends to hold; negative after that.
    func secondsLeft(at now: Date) -> Double { current.ends.timeIntervalSince(now) }

    /// Tells once a day of a certificate that has ended, or ends soon; called about once a second.
    ///
    /// - Returns: What was logged.
    @discardableResult
    func remind(now: Date) -> String? {
        let left = secondsLeft(at: now)
        guard left < Self.daysAhead * Self.day else { return nil }
        let isDue = reminded.withLock { last in
            guard last.map({ now.timeIntervalSince($0) >= Self.day }) ?? true else { return false }
            last = now
            return true
        }
        guard isDue else { return nil }
        let fact =
            left > 0
            ? "ends in \(Int(left / Self.day)) days" : "has ended, and clients refuse it"
        let text =
            "the certificate \(settings.certificate) \(fact): write a new one in its place, which "
            + "is read without a restart"
        log.warning("\(text)")
        return text
    }

    /// Logs a handshake that failed: once a minute, with how many more there were since.
    ///
    /// - Returns: What was logged.
    @discardableResult
    func handshakeFailed(
        _ reason: String, from address: String, now: ContinuousClock.Instant
    ) -> String? {
        let more = failures.withLock { failures -> Int? in
            if let last = failures.logged, now - last < Self.failurePause {
                failures.unlogged += 1
                return nil
            }
            defer { failures = Failures(logged: now) }
            return failures.unlogged
        }
        guard let more else { return nil }
        let text =
            "a handshake of TLS with \(address) failed: \(reason)"
            + (more > 0 ? " (\(more) more failed since the last such line)" : "")
        log.info("\(text)")
        return text
    }

    /// Reads the files again. A key that is written after its certificate is another change.
    func readAgain() {
        do {
            let new = try TLSContext(settings, now: .now)
            context.withLock { $0 = new }
            watch.taken()
            log.info("the certificate was read again from \(settings.certificate)")
        } catch {
            guard watch.refused("\(error)") else { return }
            log.warning("the certificate of before stays, because \(error)")
        }
    }
}

/// The certificate of the HTTP API.
public struct TLSSettings: Codable, Hashable, Sendable {
    /// A PEM file with the server's certificate and its chain; empty serves HTTP without TLS.
    ///
    /// A relative path of a job file begins at that file's folder.
    public var certificate = ""
    /// A PEM file with the certificate's key, which its owner alone may read.
    public var key = ""

    /// No certificate.
    init() {}

    /// Whether connections are sealed.
    public var isOn: Bool { !certificate.isEmpty }

    /// - Throws: `ServingError.configuration` for one file without the other.
    func validate() throws(ServingError) {
        guard certificate.isEmpty == key.isEmpty else {
            let (one, other) =
                certificate.isEmpty ? ("key", "certificate") : ("certificate", "key")
            throw .configuration(message: "tls.\(one) is set, and tls.\(other) is not")
        }
    }
}
