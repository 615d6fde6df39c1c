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

    /// - Throws: `ServingError.configuration` as `TLSContext` has it.
    init(_ settings: TLSSettings, log: Logger) throws(ServingError) {
        self.settings = settings
        self.log = log
        watch = FileWatch([settings.certificate, settings.key])
        context = Mutex(try TLSContext(settings, now: .now))
    }

    /// What a new connection is sealed with.
    var current: TLSContext { context.withLock { $0 } }

    /// Looks whether the files changed; called about once a second.
    func look() { watch.look { self.readAgain() } }

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
