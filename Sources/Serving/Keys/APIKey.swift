import Encoding

/// A key of the HTTP API: whom it stands for, and what it may use.
struct APIKey: Hashable, Sendable {
    /// What a key may use; nil is no limit beside those of the server.
    struct Limits: Hashable, Sendable {
        var requestsPerMinute: Int?
        /// Tokens of prompts and answers together.
        var tokensPerMinute: Int?
        /// Texts under way, waiting ones included.
        var textsAtOnce: Int?
    }

    /// What logs and metrics call it.
    let name: String
    /// Whose the files, batches and stored responses are that it makes.
    let owner: String
    var limits = Limits()
    /// Whether it may end the server.
    var isAdmin = false
    /// Whether `/metrics` shows it what other keys have used; an admin's key sees that anyway.
    var readsMetrics = false
    private let secret: [UInt8]

    /// A key of a key file. What it makes belongs to its name, so that a new secret keeps it.
    init(name: String, secret: String) {
        self.name = name
        self.secret = Array(secret.utf8)
        owner = Self.fingerprint("key \(name)")
    }

    /// A key of the list `keys`, which has no name. What it makes belongs to the secret.
    init(number: Int, secret: String) {
        name = "keys[\(number)]"
        self.secret = Array(secret.utf8)
        owner = Self.fingerprint("Bearer \(secret)")
    }

    /// Whether a header can carry a text as a key.
    static func isSecret(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x21 ... 0x7E).contains($0) }
    }

    /// Whether a client sent this key, in a time that depends on the two lengths alone. An empty
    /// one is no key.
    func matches(_ given: some RandomAccessCollection<UInt8>) -> Bool {
        var difference = given.count ^ secret.count
        for (index, byte) in secret.enumerated() {
            // One byte of what was given is read for each of the secret, wherever they differ.
            let place = given.isEmpty ? 0 : index % given.count
            let other = given.isEmpty ? 0 : given[given.index(given.startIndex, offsetBy: place)]
            difference |= Int(byte ^ other)
        }
        return difference == 0 && !secret.isEmpty
    }

    /// What a client sends.
    var text: String { String(decoding: secret, as: UTF8.self) }

    func hasSecret(of other: APIKey) -> Bool { matches(other.secret) }

    private static func fingerprint(_ text: String) -> String {
        var fingerprint = Fingerprint()
        fingerprint.add(text)
        return fingerprint.text
    }
}
