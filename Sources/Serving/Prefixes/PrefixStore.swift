import Foundation
import Synchronization

/// Cached blocks that outlive the process: what an engine computed goes to files on one thread, and
/// what a prompt may begin with comes back from them on another.
///
/// 1. An engine never waits for a disk: a block that finds the queue of writes full is not kept,
///    and a prompt whose blocks do not come within `readLimit` is computed.
/// 2. What a disk does wrong costs time, and no request: it is counted, and said once a minute.
final class PrefixStore: Sendable {
    /// The entries of a block.
    typealias Block = (what: PrefixBlock, entries: [UInt8])

    private struct State {
        var counts = PrefixCounts()
        var pendingBytes = 0
        /// Bytes that were read and that the engine has not taken yet.
        var untakenBytes = 0
        /// When a file was read last.
        var lastRead: ContinuousClock.Instant?
        /// Who waits for a read that begins with the same block.
        var joined: [PrefixKey: [@Sendable () -> Void]] = [:]
        var unchecked = 0
        var writesFrom = ContinuousClock.now
        var readsFrom = ContinuousClock.now
        var lastWarning: ContinuousClock.Instant?
    }

    private let folder: PrefixFolder
    private let entryBytes: Int
    private let warn: @Sendable (String) -> Void
    private let state = Mutex(State())
    private let writes = DispatchQueue(label: "apus.prefix.write", qos: .utility)
    private let reads = DispatchQueue(label: "apus.prefix.read", qos: .userInitiated)

    /// Bytes that wait to be written.
    private static let pendingLimit = 256 << 20
    /// Bytes that are brought back at once: what is beyond them is computed.
    private static let restoreLimit = 512 << 20
    /// How long a prompt waits for its blocks.
    static let readLimit = Duration.seconds(5)
    /// How long nothing is tried after the disk refused a block, or gave none.
    private static let pause = Duration.seconds(30)
    private static let warningInterval = Duration.seconds(60)

    /// - Parameters:
    ///   - entryBytes: Bytes of the entries of a block.
    ///   - warn: Told what the disk does wrong; any thread may call it.
    init(
        _ folder: PrefixFolder, entryBytes: Int, warn: @escaping @Sendable (String) -> Void
    ) {
        self.folder = folder
        self.entryBytes = entryBytes
        self.warn = warn
        state.withLock { $0.unchecked = folder.byteLimit }
    }

    var counts: PrefixCounts { state.withLock { $0.counts } }

    /// Takes a block to be written, on another thread.
    ///
    /// - Parameter entries: Gives its entries, of `byteCount` bytes, if there is room for them.
    func keep(_ what: PrefixBlock, byteCount: Int, entries: () -> [UInt8]) {
        let isTaken = state.withLock { state in
            guard state.pendingBytes + byteCount <= Self.pendingLimit, state.writesFrom <= .now
            else {
                state.counts.dropped += 1
                return false
            }
            state.pendingBytes += byteCount
            return true
        }
        guard isTaken else { return }
        let block = (what: what, entries: entries())
        writes.async { [self] in write(block) }
    }

    /// Whether reads are tried: not soon after one did not end.
    var mayRead: Bool { state.withLock { $0.readsFrom <= .now } }

    /// Reads the blocks of a text, until one is not there.
    ///
    /// Texts that begin alike and come together read their files once.
    ///
    /// - Parameters:
    ///   - wanted: The blocks that the cache does not have, in order; at least one.
    ///   - begin: When the text came: `readLimit` counts from then.
    ///   - done: Told the blocks, once, within `readLimit`, on another thread; nil says that a text
    ///     which begins alike was read meanwhile, so that fewer may be wanted. `taken` is due for
    ///     them.
    func restore(
        _ wanted: [PrefixBlock], since begin: ContinuousClock.Instant,
        done: @escaping @Sendable ([Block]?) -> Void
    ) {
        let answer = OnlyAnswer(done)
        let key = wanted[0].key
        let isFirst = state.withLock { state in
            let isFirst = state.joined[key] == nil
            state.joined[key, default: []] += isFirst ? [] : [{ answer.give(nil) }]
            return isFirst
        }
        if isFirst {
            reads.async { [self] in
                let found = answer.isGiven ? [] : blocks(wanted, unless: answer)
                state.withLock { $0.untakenBytes += found.count * entryBytes }
                if !answer.give(found) { taken(found.count) }
                let others = state.withLock { $0.joined.removeValue(forKey: key) }
                for other in others ?? [] { other() }
            }
        }
        let limit = Self.readLimit
        let rest = max(.zero, limit - (.now - begin))
        DispatchQueue.global().asyncAfter(deadline: .now() + rest.seconds) { [self] in
            guard answer.give([]) else { return }
            let isStuck = state.withLock { state in
                // A queue of reads that moves is no fault of the disk.
                guard state.lastRead.map({ $0 < begin }) ?? true else { return false }
                state.readsFrom = .now + Self.pause
                return true
            }
            guard isStuck else { return }
            complain(
                "no block came within \(limit.seconds) s: prompts are computed for"
                    + " \(Self.pause.seconds) s")
        }
    }

    /// Notes that blocks which were read are held no longer.
    func taken(_ count: Int) { state.withLock { $0.untakenBytes -= count * entryBytes } }

    /// Waits until what was kept so far is written, or a time is over.
    func flush(atMost limit: Duration) {
        let done = DispatchSemaphore(value: 0)
        writes.async { done.signal() }
        _ = done.wait(timeout: .now() + limit.seconds)
    }

    private func blocks(_ wanted: [PrefixBlock], unless answer: OnlyAnswer) -> [Block] {
        var blocks: [Block] = []
        let room = Self.restoreLimit - state.withLock { $0.untakenBytes }
        for what in wanted.prefix(max(0, room) / entryBytes) where !answer.isGiven {
            do {
                let entries = try folder.read(
                    what.key, tokens: what.tokens, entryBytes: entryBytes)
                state.withLock { $0.lastRead = .now }
                guard let entries else { break }
                blocks.append((what, entries))
            } catch is PrefixFolder.Damage {
                state.withLock { $0.counts.damaged += 1 }
                complain("a block was not whole, or of another text: it is removed")
                break
            } catch {
                complain("a block cannot be read: \(error.localizedDescription)")
                break
            }
        }
        return blocks
    }

    private func write(_ block: Block) {
        defer { state.withLock { $0.pendingBytes -= block.entries.count } }
        do {
            let bytes = try folder.write(
                block.what.key, tokens: block.what.tokens, entries: block.entries)
            let isPruningDue = state.withLock { state in
                state.counts.writtenBytes += UInt64(bytes)
                state.counts.folderBytes += bytes
                state.unchecked += bytes
                return state.unchecked >= folder.byteLimit / 256
            }
            if isPruningDue, let total = try folder.prune() {
                state.withLock { state in
                    state.counts.folderBytes = total
                    state.unchecked = 0
                }
            }
        } catch {
            state.withLock { state in
                state.counts.dropped += 1
                state.writesFrom = .now + Self.pause
            }
            complain("no block is kept for \(Self.pause.seconds) s: \(error.localizedDescription)")
        }
    }

    /// Notes tokens whose entries came from files.
    func noteRestored(tokens: Int) {
        state.withLock { $0.counts.restoredTokens += UInt64(tokens) }
    }

    private func complain(_ text: String) {
        let isTime = state.withLock { state in
            let now = ContinuousClock.now
            if let last = state.lastWarning, now - last < Self.warningInterval { return false }
            state.lastWarning = now
            return true
        }
        if isTime { warn("prefix folder \(folder.root.path(percentEncoded: false)): \(text)") }
    }

    /// What is told once, by whoever comes first.
    private final class OnlyAnswer: Sendable {
        private let done: Mutex<(@Sendable ([Block]?) -> Void)?>

        init(_ done: @escaping @Sendable ([Block]?) -> Void) { self.done = Mutex(done) }

        var isGiven: Bool { done.withLock { $0 == nil } }

        @discardableResult func give(_ blocks: [Block]?) -> Bool {
            let done = done.withLock { done in
                defer { done = nil }
                return done
            }
            done?(blocks)
            return done != nil
        }
    }
}
