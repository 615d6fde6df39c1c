import Logging
import Synchronization

/// The API keys that a server takes now: those of its settings, and those of a file that is read
/// again when it changes.
///
/// 1. A file that cannot be read changes nothing: the keys of before stay.
/// 2. A server that began with keys always has some.
final class KeyRing: Sendable {
    /// A key, and what was used of it.
    struct Entry: Sendable {
        let key: APIKey
        let usage: KeyUsage
    }

    private let listed: [APIKey]
    private let path: String
    private let log: Logger
    private let watch: FileWatch
    private let state: Mutex<[Entry]>

    /// - Parameters:
    ///   - listed: Keys without names; none, and no file, lets everybody in.
    ///   - file: Empty for none.
    /// - Throws: `ServingError.configuration` for a file that cannot be used.
    init(_ listed: [String], file: String, log: Logger) throws(ServingError) {
        self.listed = listed.enumerated().map { APIKey(number: $0, secret: $1) }
        path = file
        self.log = log
        watch = FileWatch(file.isEmpty ? [] : [file])
        let read = file.isEmpty ? [] : try KeyFile.read(file)
        let entries = (self.listed + read).map { key in
            Entry(key: key, usage: KeyUsage(of: key, now: .now))
        }
        state = Mutex(entries)
    }

    /// Whether everybody is let in.
    var isOpen: Bool { listed.isEmpty && path.isEmpty }

    /// Whether a key may end the server.
    var hasAdmin: Bool { entries.contains { $0.key.isAdmin } }

    /// All keys, in the order of settings and file.
    var entries: [Entry] { state.withLock { $0 } }

    /// The key that a client sent as `Authorization`; every key is compared.
    func entry(for authorization: String) -> Entry? {
        let scheme = "Bearer "
        guard authorization.hasPrefix(scheme) else { return nil }
        let given = Array(authorization.utf8.dropFirst(scheme.utf8.count))
        var found: Entry?
        for entry in entries where entry.key.matches(given) { found = entry }
        return found
    }

    /// What the key that made something has used.
    ///
    /// - Returns: Nil for an owner whose key is gone, and for what was made without keys.
    func usage(of owner: String) -> KeyUsage? {
        entries.first { $0.key.owner == owner }?.usage
    }

    /// Looks whether the file changed; called about once a second.
    func look() { watch.look { self.readAgain() } }

    /// Reads the file again, which was written or is another one than before.
    func readAgain() {
        do {
            let keys = listed + (try KeyFile.read(path))
            let now = ContinuousClock.now
            state.withLock { entries in
                let usages = Dictionary(
                    entries.map { ($0.key.name, $0.usage) }, uniquingKeysWith: { $1 })
                entries = keys.map { key in
                    let usage = usages[key.name] ?? KeyUsage(of: key, now: now)
                    usage.limit(key.limits, now: now)
                    return Entry(key: key, usage: usage)
                }
            }
            log.info("\(keys.count) API keys, read again from \(path)")
        } catch {
            log.warning("the API keys of before stay, because \(error)")
        }
    }
}
