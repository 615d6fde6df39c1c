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
    private let state: Mutex<State>

    private struct State {
        var entries: [Entry]
        /// What keys have used that left the file, the last one to leave last: a key that comes
        /// back gets no new minute.
        var retired: [KeyUsage] = []
    }

    /// Keys that are remembered after they left.
    private static let mostRetired = 1000

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
        state = Mutex(State(entries: entries))
    }

    /// Whether everybody is let in.
    var isOpen: Bool { listed.isEmpty && path.isEmpty }

    /// Whether a key may end the server.
    var hasAdmin: Bool { entries.contains { $0.key.isAdmin } }

    /// All keys, in the order of settings and file.
    var entries: [Entry] { state.withLock { $0.entries } }

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

    /// Checks whether the file changed; called about once a second.
    func poll() { watch.poll { self.readAgain() } }

    /// Reads the file again, which was written or is another one than before.
    func readAgain() {
        do {
            let keys = listed + (try KeyFile.read(path))
            let now = ContinuousClock.now
            state.withLock { state in
                let all = state.retired + state.entries.map(\.usage)
                var usages = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
                state.entries = keys.map { key in
                    let usage = usages.removeValue(forKey: key.name) ?? KeyUsage(of: key, now: now)
                    usage.limit(key.limits, now: now)
                    return Entry(key: key, usage: usage)
                }
                let gone = all.filter { usages[$0.name] != nil }
                state.retired = Array(gone.suffix(Self.mostRetired))
            }
            watch.taken()
            log.info("\(keys.count) API keys, read again from \(path)")
        } catch {
            guard watch.refused("\(error)") else { return }
            log.warning("the API keys of before stay, because \(error)")
        }
    }
}
