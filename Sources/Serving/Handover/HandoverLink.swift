import Foundation
import Models
import Synchronization
import Tensors
import Topology
import Transport

/// A fabric of a prefill rank and a decode rank, and the window through which entries travel.
///
/// The window has slots of one piece each. The sender fills a slot and raises a signal; the
/// receiver empties it and raises another, which lets the sender use it again. Memory is bounded by
/// the slots, and a receiver that is slow holds nothing but its own prompts up.
///
/// 1. A slot is filled only after the piece before it there was taken.
/// 2. A header is checked before its bytes are used.
final class HandoverLink: Sendable {
    let order: LinkOrder
    private let fabric: any Fabric
    private let window: Window
    private let cache: BlockCache
    private let slotBytes: Int
    private let slotCount: Int
    private let limit: Duration
    private let queue = Mutex<[HandoverBatch]>([])
    private let arrivals = DispatchSemaphore(value: 0)
    private let ending = Mutex<String?>(nil)

    /// Of pieces under way: some hundred blocks of one layer, so that neither side waits for the
    /// other piece by piece.
    private static let windowBytes = 16 << 20
    private static let mostSlots = 512
    /// Between polls of a thread that has nothing to do.
    private static let idlePatience = Duration.seconds(5)
    /// Between checks of a sender without prompts whether the other rank still lives.
    private static let idleSeconds = 0.5

    private static let sender: Rank = 0
    private static let receiver: Rank = 1

    /// Makes the window. Both ranks call it.
    ///
    /// - Parameter limit: How long a piece may wait for the other rank.
    init(
        _ order: LinkOrder, fabric: any Fabric, cache: BlockCache, limit: Duration
    ) throws(TransportError) {
        self.order = order
        self.fabric = fabric
        self.cache = cache
        self.limit = limit
        let largest = cache.parts.map(\.entryBytes).max() ?? 0
        slotBytes = HandoverPiece.headerBytes + largest * cache.blockTokens
        slotCount = max(2, min(Self.mostSlots, Self.windowBytes / slotBytes))
        let receives = fabric.rank == Self.receiver
        let bytes = slotBytes * slotCount
        window = try fabric.makeWindow(
            name: "handover", byteCount: receives ? bytes : 8, signalCount: 1,
            stagingByteCount: receives ? 8 : bytes,
            deadline: fabric.deadline(limit, "making the window of a hand-over"))
        let theirs = window.byteCount(of: Self.receiver)
        guard theirs == bytes else {
            throw .disagreement(
                order.peer, subject: "a hand-over window of", theirs: "\(theirs) bytes",
                ours: "\(bytes)")
        }
    }

    /// Ends the link; threads of it return.
    func end(_ reason: String) {
        ending.withLock { $0 = $0 ?? reason }
        arrivals.signal()
        // A rank that waits to hear good-bye from a dead one would let the caller wait.
        Thread.detachNewThread { [fabric] in fabric.close() }
    }

    /// Why it was ended from outside.
    var reason: String? { ending.withLock { $0 } }

    // MARK: Prefill rank

    /// Sends blocks once those before them are sent.
    func enqueue(_ batch: HandoverBatch) {
        queue.withLock { $0.append(batch) }
        arrivals.signal()
    }

    /// Sends what is enqueued until the link ends.
    ///
    /// - Parameter sent: Told of each prompt whose last piece has left, and its bytes.
    /// - Throws: `TransportError` naming the decode rank.
    func send(_ sent: (HandoverTransfer, Int) -> Void) throws {
        var next: UInt64 = 0
        var bytes: [RequestID: Int] = [:]
        while reason == nil {
            _ = arrivals.wait(timeout: .now() + Self.idleSeconds)
            if let lost = fabric.lostRanks.first {
                throw TransportError.rankLost(
                    order.members[lost.rawValue], phase: "hand-over", cause: "its link is cut")
            }
            while let batch = queue.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
                let id = batch.transfer.order.request.id
                let count = try send(batch, &next)
                bytes[id, default: 0] += count ?? 0
                if count == nil || batch.isLast {
                    let sum = bytes.removeValue(forKey: id) ?? 0
                    if count != nil { sent(batch.transfer, sum) }
                }
            }
        }
    }

    /// - Parameter next: Pieces sent before.
    /// - Returns: Bytes that left; nil for a transfer that was aborted.
    private func send(_ batch: HandoverBatch, _ next: inout UInt64) throws -> Int? {
        let order = batch.transfer.order
        var bytes = 0
        for (offset, block) in batch.blocks.enumerated() {
            let index = batch.first + offset
            let tokens = min(cache.blockTokens, batch.end - index * cache.blockTokens)
            for part in cache.parts.indices {
                if next >= UInt64(slotCount) {
                    try window.wait(
                        signal: 0, atLeast: next + 1 - UInt64(slotCount), from: Self.receiver,
                        deadline: fabric.deadline(limit, "hand-over"))
                }
                let piece = HandoverPiece(
                    link: order.link, request: order.request.id, attempt: order.attempt,
                    part: part, block: index, tokens: tokens, cachedTokens: batch.cachedTokens)
                guard
                    try batch.transfer.reading({ try put(piece, block, slot: next) })
                else { return nil }
                next += 1
                bytes += tokens * cache.parts[part].entryBytes
            }
        }
        return bytes
    }

    private func put(_ piece: HandoverPiece, _ block: BlockID, slot: UInt64) throws {
        let store = cache.parts[piece.part]
        let start = Int(slot % UInt64(slotCount)) * slotBytes
        let end = start + HandoverPiece.headerBytes + piece.tokens * store.entryBytes
        func fill(_ bytes: inout MutableRawSpan) {
            piece.write(into: &bytes)
            store.copyEntries(
                piece.tokens, ofBlock: Int(block.rawValue), into: &bytes,
                at: HandoverPiece.headerBytes)
        }
        let isStored: Bool? = window.withPeerBytes(of: Self.receiver, start ..< end) { bytes in
            fill(&bytes)
            return true
        }
        if isStored == true {
            return try window.signal(0, of: Self.receiver, value: slot + 1)
        }
        window.withStaging(start ..< end) { bytes in fill(&bytes) }
        try window.put(
            start ..< end, to: Self.receiver, at: start, signal: 0, value: slot + 1)
    }

    // MARK: Decode rank

    /// Takes what arrives until the link ends.
    ///
    /// - Parameter take: Told of each prompt that is whole.
    /// - Throws: `TransportError` naming the prefill rank.
    func receive(
        into inbox: HandoverInbox, _ take: (HandoverPiece, HandoverInbox.Outcome) -> Void
    ) throws {
        var taken: UInt64 = 0
        while reason == nil {
            do throws(TransportError) {
                try window.wait(
                    signal: 0, atLeast: taken + 1, from: Self.sender,
                    deadline: fabric.deadline(Self.idlePatience, "idle"))
            } catch {
                if case .deadline = error { continue }
                throw error
            }
            let sent = window.signalValue(0)
            guard sent >= taken, sent - taken <= UInt64(slotCount) else {
                throw malformed("piece \(sent) after \(taken), in \(slotCount) slots")
            }
            while taken < sent {
                let start = Int(taken % UInt64(slotCount)) * slotBytes
                let outcome = window.withBytes(start ..< start + slotBytes) { bytes in
                    HandoverPiece(bytes, link: order.number, cache: cache).flatMap { piece in
                        inbox.take(piece, bytes).map { (piece, $0) }
                    }
                }
                guard let (piece, result) = outcome else {
                    throw malformed("a piece that fits no prompt of this cache")
                }
                taken += 1
                try window.signal(0, of: Self.sender, value: taken)
                take(piece, result)
            }
        }
    }

    private func malformed(_ fact: String) -> TransportError {
        .malformed(from: "\(order.peer)", fact)
    }
}
