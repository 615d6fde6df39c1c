import Foundation

/// How the HTTP API is reached.
public struct OpenAIServerConfiguration: Codable, Hashable, Sendable {
    /// The interface, numeric.
    ///
    /// Default: loopback.
    public var address = "127.0.0.1"
    /// 0 takes any free port.
    public var port = 8080
    /// Keys of which a client must send one; none lets everybody in.
    public var keys: [String] = []
    /// A file of named keys and their limits, which is read again when it changes; empty for none.
    ///
    /// A relative path of a job file begins at that file's folder.
    public var keyFile = ""
    /// The certificate of the API; without one it speaks HTTP.
    public var tls = TLSSettings()
    /// Origins whose pages may use the API in a browser, as `https://chat.example`; `*` is every
    /// one, and none is the default.
    public var cors: [String] = []
    /// A file with one line per request.
    public var accessLog = AccessLogSettings()
    /// A folder for the files and batches of `/v1/files` and `/v1/batches`; empty keeps none.
    ///
    /// A relative path of a job file begins at that file's folder. A later server that
    /// is given the same folder goes on with its batches.
    public var batchFolder = ""
    /// What requests may ask.
    public var limits = ServiceLimits()

    /// The defaults.
    public init() {}

    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    public func validate() throws(ServingError) {
        try Setting.check("port", port, 0, 65535)
        for (number, key) in keys.enumerated() where !APIKey.isSecret(key) {
            throw .configuration(
                message: "keys[\(number)] has \(key.utf8.count) bytes: a key has one or more "
                    + "visible ASCII characters without a space (openssl rand -hex 32 makes one)")
        }
        for origin in cors where origin != "*" && !Self.isOrigin(origin) {
            throw .configuration(
                message: "cors names \(origin): it must be * or an origin as "
                    + "https://chat.example:8443, without a path")
        }
        try tls.validate()
        try accessLog.validate()
        try limits.validate()
    }

    /// Reads the key file and the certificate, and opens the batch folder and the access log and
    /// closes them again, so that a fault is known before a model loads.
    ///
    /// - Throws: `ServingError.configuration` for a file or folder that cannot be used.
    public func checkFiles() throws(ServingError) {
        if !keyFile.isEmpty { _ = try KeyFile.read(keyFile) }
        if tls.isOn { _ = try TLSContext(tls, now: .now) }
        if !accessLog.file.isEmpty { try AccessLog.check(accessLog.file) }
        if !batchFolder.isEmpty { _ = try BatchFolder(path: batchFolder, limits: limits) }
    }

    /// The secret of the first admin in a file of keys, for a command that ends a server.
    ///
    /// - Throws: `ServingError.configuration` for a file that cannot be used, or that has no admin.
    public static func adminKey(in path: String) throws(ServingError) -> String {
        guard let key = try KeyFile.read(path).first(where: \.isAdmin) else {
            throw .configuration(message: "keyFile \(path) has no key with admin: true")
        }
        return key.text
    }

    /// Whether a browser could send this word as `Origin`.
    private static func isOrigin(_ text: String) -> Bool {
        guard let scheme = text.firstRange(of: "://") else { return false }
        let host = text[scheme.upperBound...]
        return scheme.lowerBound > text.startIndex && !host.isEmpty && !host.contains("/")
            && !text.contains(where: \.isWhitespace)
    }
}
