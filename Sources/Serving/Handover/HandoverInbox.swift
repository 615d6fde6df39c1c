import Models
import Synchronization
import Tensors

/// Prompts whose entries are about to arrive at this rank, and the blocks that wait for them.
///
/// Threads of links write into blocks; the engine's thread gives them and takes them back.
///
/// 1. Nothing is written into a block once `drop` has returned, or the last piece was written.
/// 2. A piece is written once, and only where the engine wants it.
final class HandoverInbox: Sendable {
    /// What one prompt still lacks.
    private struct Expectation {
        /// Positions whose entries are wanted: from `start`, a block's first, to before `end`.
        let start: Int
        let end: Int
        let blocks: [BlockID]
        /// The attempts that may bring them; the highest that was seen counts.
        let attempts: ClosedRange<UInt64>
        var attempt: UInt64
        var isHere: [Bool]
        var missing: Int
        let began: ContinuousClock.Instant
        var lastPiece: ContinuousClock.Instant
        var cachedTokens = 0
    }

    /// What became of a piece.
    enum Outcome: Equatable, Sendable {
        /// It lies in its block.
        case kept
        /// With it the prompt is whole, this long after room was granted.
        case whole(cachedTokens: Int, after: Duration)
        /// Nobody waits for it.
        case dropped
    }

    /// Attempts that one request has.
    static let mostAttempts: UInt64 = 3

    private let cache: BlockCache
    private let expectations = Mutex<[RequestID: Expectation]>([:])

    init(_ cache: BlockCache) { self.cache = cache }

    /// Waits for the entries of a prompt.
    ///
    /// - Parameters:
    ///   - positions: Those that are wanted; the first one begins a block.
    ///   - blocks: Of the text, from its beginning.
    ///   - firstAttempt: The number of the first attempt.
    func expect(
        _ id: RequestID, _ positions: Range<Int>, _ blocks: [BlockID], firstAttempt: UInt64
    ) {
        precondition(
            positions.lowerBound.isMultiple(of: cache.blockTokens)
                && cache.blocksNeeded(tokens: positions.upperBound) <= blocks.count,
            "positions \(positions) in \(blocks.count) blocks")
        let count =
            cache.blocksNeeded(tokens: positions.upperBound)
            - positions.lowerBound / cache.blockTokens
        let pieces = count * cache.parts.count
        expectations.withLock {
            $0[id] = Expectation(
                start: positions.lowerBound, end: positions.upperBound, blocks: blocks,
                attempts: firstAttempt ... firstAttempt &+ (Self.mostAttempts - 1),
                attempt: firstAttempt, isHere: Array(repeating: false, count: pieces),
                missing: pieces, began: .now, lastPiece: .now)
        }
    }

    /// Waits no longer; what came is not used.
    ///
    /// - Returns: Whether it was waited for.
    @discardableResult
    func drop(_ id: RequestID) -> Bool {
        expectations.withLock { $0.removeValue(forKey: id) != nil }
    }

    /// Waits for nothing any more.
    func dropAll() { expectations.withLock { $0 = [:] } }

    /// The requests for which nothing came within a limit.
    func overdue(_ limit: Duration) -> [RequestID] {
        expectations.withLock { expectations in
            expectations.filter { .now - $0.value.lastPiece > limit }.keys.sorted()
        }
    }

    /// Whether anything is waited for.
    var isWaiting: Bool { expectations.withLock { !$0.isEmpty } }

    /// Whether entries of this prompt are waited for.
    func isWaiting(for id: RequestID) -> Bool { expectations.withLock { $0[id] != nil } }

    /// Takes a piece, whose header was checked against the cache.
    ///
    /// - Parameter bytes: The header, its entries, and perhaps more.
    /// - Returns: nil for a piece that does not fit the request that it names.
    func take(_ piece: HandoverPiece, _ bytes: RawSpan) -> Outcome? {
        let size = piece.tokens * cache.parts[piece.part].entryBytes
        guard HandoverPiece.headerBytes + size <= bytes.byteCount else { return nil }
        return expectations.withLock { expectations in
            guard var expected = expectations[piece.request],
                expected.attempts.contains(piece.attempt), piece.attempt >= expected.attempt
            else { return .dropped }
            if piece.attempt > expected.attempt {
                // What an attempt that failed has brought is no part of another.
                expected.attempt = piece.attempt
                expected.cachedTokens = 0
                expected.missing = expected.isHere.count
                expected.isHere = Array(repeating: false, count: expected.missing)
            }
            let first = expected.start / cache.blockTokens
            let position = piece.block * cache.blockTokens
            let index = (piece.block - first) * cache.parts.count + piece.part
            guard expected.isHere.indices.contains(index), !expected.isHere[index],
                piece.tokens == min(cache.blockTokens, expected.end - position)
            else { return nil }
            cache.parts[piece.part].setEntries(
                piece.tokens, ofBlock: Int(expected.blocks[piece.block].rawValue),
                from: bytes, at: HandoverPiece.headerBytes)
            expected.isHere[index] = true
            expected.missing -= 1
            expected.lastPiece = .now
            expected.cachedTokens = max(expected.cachedTokens, piece.cachedTokens)
            guard expected.missing == 0 else {
                expectations[piece.request] = expected
                return .kept
            }
            expectations[piece.request] = nil
            return .whole(
                cachedTokens: min(expected.cachedTokens, expected.end),
                after: .now - expected.began)
        }
    }
}
