import Encoding
import Models
import Tensors
import Testing
import Topology

@testable import Serving

/// Who computes which prompt, and what a decode rank takes from a link.
@Suite struct HandoverRoutingTests {
    /// Ranks 0 and 1 prefill, ranks 2 and 3 decode; all are linked.
    private static func linked() throws -> HandoverRouting {
        var routing = HandoverRouting(
            try HandoverTests.groups(prefill: [1, 1], decode: [2]), firstNumber: 1)
        var orders = 0
        for rank in 0 ..< 4 {
            for (rank, command) in routing.arrived(rank) {
                guard case .handover(.link(let order)) = command else { continue }
                #expect(order.members[order.place].rawValue == rank)
                #expect(routing.receive(.linked(order.number), from: rank).isEmpty)
                orders += 1
            }
        }
        #expect(orders == 8)
        return routing
    }

    private static func request(_ id: UInt64, _ tokens: Int = 300) -> GenerationRequest {
        GenerationRequest(
            id: RequestID(rawValue: id),
            prompt: (0 ..< tokens).map { ($0 * 7 + Int(id) / 100) % 90 }, maxNewTokens: 5)
    }

    /// Where a prompt went, and its order.
    private static func place(
        _ routing: inout HandoverRouting, _ request: GenerationRequest, decode: Int
    ) throws -> (rank: Int, order: PrefillOrder) {
        var request = request
        #expect(routing.submitted(&request, to: decode).isEmpty)
        #expect(request.handover != nil)
        return try #require(
            orders(routing.receive(.granted(request.id, start: 0), from: decode)).first)
    }

    private static func orders(
        _ actions: [HandoverRouting.Action]
    ) -> [(rank: Int, order: PrefillOrder)] {
        actions.compactMap { rank, command in
            if case .handover(.prefill(let order)) = command { return (rank, order) }
            return nil
        }
    }

    @Test func `prompts go to the rank that has less to do, and where they begin alike`() throws {
        var routing = try Self.linked()
        let first = try Self.place(&routing, Self.request(100), decode: 2)
        #expect(first.rank == 0 && first.order.request.prompt.count == 299)
        #expect(first.order.request.maxNewTokens == 0)
        let second = try Self.place(&routing, Self.request(200), decode: 3)
        #expect(second.rank == 1)
        // Both have as much to do; the rank that had the prefix has less to add.
        let third = try Self.place(&routing, Self.request(201), decode: 2)
        #expect(third.rank == 1)
        let sent = HandoverReport.sent(
            first.order.request.id, attempt: first.order.attempt)
        #expect(routing.receive(sent, from: 0).isEmpty)
        let fourth = try Self.place(&routing, Self.request(300), decode: 2)
        #expect(fourth.rank == 0)
    }

    @Test func `a prompt that fails goes elsewhere, and after that to its own rank`() throws {
        var routing = try Self.linked()
        let (rank, order) = try Self.place(&routing, Self.request(100), decode: 2)
        let id = order.request.id
        // What another rank, or another attempt, says means nothing.
        #expect(routing.receive(.failed(id, attempt: order.attempt, reason: ""), from: 1).isEmpty)
        #expect(
            routing.receive(.failed(id, attempt: order.attempt + 1, reason: ""), from: 0).isEmpty)
        let actions = routing.receive(
            .failed(id, attempt: order.attempt, reason: ""), from: rank)
        let again = try #require(Self.orders(actions).first)
        #expect(again.rank == 1 && again.order.attempt == order.attempt + 1)
        let rest = routing.receive(.failed(id, attempt: again.order.attempt, reason: ""), from: 1)
        #expect(rest.map(\.rank) == [2] && rest.map(\.command) == [.handover(.compute(id))])
    }

    @Test func `a rank that is lost loses its prompts and its links, and gets new ones`() throws {
        var routing = try Self.linked()
        let first = try Self.place(&routing, Self.request(100), decode: 2)
        #expect(first.rank == 0)
        let actions = routing.lost(0)
        #expect(!actions.contains { $0.rank == 0 })
        #expect(Self.orders(actions).map(\.rank) == [1])
        let links = actions.filter {
            if case .handover(.unlink) = $0.command { return true }
            return false
        }
        #expect(links.map(\.rank).sorted() == [2, 3])
        // Without a prefill rank nothing is handed over, and none is promised.
        let ends = routing.lost(1)
        #expect(ends.contains { $0.command == .handover(.compute(first.order.request.id)) })
        var request = Self.request(200)
        #expect(routing.submitted(&request, to: 2).isEmpty && request.handover == nil)
        #expect(routing.texts(of: [0, 1]) == [0, 1] && routing.texts(of: [0, 2]) == [2])
        #expect(routing.arrived(0).count == 4)
    }

    @Test func `a text that ends withdraws its prompt`() throws {
        var routing = try Self.linked()
        let (rank, order) = try Self.place(&routing, Self.request(100), decode: 2)
        let id = order.request.id
        let actions = routing.ended(id)
        #expect(actions.map(\.rank) == [rank] && actions.map(\.command) == [.cancel(id)])
        #expect(routing.ended(id).isEmpty)
        #expect(routing.receive(.granted(id, start: 0), from: 2).isEmpty)
    }

    // MARK: Pieces

    private static func cache() throws -> BlockCache {
        BlockCache(
            configuration: try ModelConfiguration.load(directory: Golden.tiny), format: .float32,
            blockCount: 8, blockTokens: 16)
    }

    private static func bytes(
        _ piece: HandoverPiece, _ cache: BlockCache, fill: UInt8 = 7
    ) -> [UInt8] {
        let size = HandoverPiece.headerBytes + 16 * (cache.parts.map(\.entryBytes).max() ?? 0)
        var bytes = [UInt8](repeating: fill, count: size)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        piece.write(into: &raw)
        return bytes
    }

    private static func piece(_ part: Int, _ block: Int, _ tokens: Int) -> HandoverPiece {
        HandoverPiece(
            link: 5, request: RequestID(rawValue: 1), attempt: 10, part: part, block: block,
            tokens: tokens, cachedTokens: 0)
    }

    @Test func `a header of random words is refused or lies inside the cache`() throws {
        let cache = try Self.cache()
        var random = SplitMix64(seed: 1)
        var accepted = 0
        for round in 0 ..< 20_000 {
            var bytes = Self.bytes(Self.piece(0, 0, 16), cache)
            for _ in 0 ... round % 3 {
                let index = Int(random.next() % UInt64(HandoverPiece.headerBytes))
                bytes[index] = UInt8(truncatingIfNeeded: random.next())
            }
            guard let read = unsafe HandoverPiece(bytes.span.bytes, link: 5, cache: cache) else {
                continue
            }
            accepted += 1
            #expect(cache.parts.indices.contains(read.part) && (0 ..< 8).contains(read.block))
            #expect((1 ... 16).contains(read.tokens))
        }
        #expect(accepted > 0 && accepted < 20_000)
    }

    @Test func `a prompt is whole once each piece came once, in one attempt`() throws {
        let cache = try Self.cache()
        let inbox = HandoverInbox(cache)
        let id = RequestID(rawValue: 1)
        let blocks = [3, 5, 1].map { BlockID(rawValue: $0) }
        inbox.expect(id, 16 ..< 40, blocks, firstAttempt: 10)
        func take(_ piece: HandoverPiece) -> HandoverInbox.Outcome? {
            unsafe inbox.take(piece, Self.bytes(piece, cache).span.bytes)
        }
        // Before the start, beyond the end, of another length, twice, of another attempt.
        #expect(take(Self.piece(0, 0, 16)) == nil)
        #expect(take(Self.piece(0, 3, 16)) == nil)
        #expect(take(Self.piece(0, 2, 16)) == nil)
        // What an attempt that fails found in its cache is not told of the next one.
        var first = Self.piece(0, 1, 16)
        first.cachedTokens = 99
        #expect(take(first) == .kept)
        #expect(take(Self.piece(0, 1, 16)) == nil)
        var other = Self.piece(1, 1, 16)
        other.attempt = 9
        #expect(take(other) == .dropped)
        other.attempt = 10 + HandoverInbox.mostAttempts
        #expect(take(other) == .dropped)
        other.request = RequestID(rawValue: 2)
        #expect(take(other) == .dropped)
        // A later attempt begins anew.
        var whole = 0
        for block in [1, 2] {
            for part in cache.parts.indices {
                var piece = Self.piece(part, block, block == 1 ? 16 : 8)
                piece.attempt = 11
                piece.cachedTokens = 32
                let outcome = take(piece)
                if case .whole(let cached, _) = outcome {
                    whole += 1
                    #expect(cached == 32 && block == 2 && part == cache.parts.count - 1)
                } else {
                    #expect(outcome == .kept)
                }
            }
        }
        #expect(whole == 1 && !inbox.isWaiting)
        #expect(take(Self.piece(0, 1, 16)) == .dropped)
        // What was written is what came, and nothing after it.
        var row = [UInt8](repeating: 0, count: 16 * cache.parts[0].entryBytes)
        var span = row.mutableSpan
        var raw = unsafe span.mutableBytes
        cache.parts[0].copyEntries(16, ofBlock: 1, into: &raw, at: 0)
        #expect(row[..<(8 * cache.parts[0].entryBytes)].allSatisfy { $0 == 7 })
        #expect(row[(8 * cache.parts[0].entryBytes)...].allSatisfy { $0 == 0 })
    }

    @Test func `a prompt of which nothing comes is overdue, and what is dropped is not`() throws {
        let inbox = HandoverInbox(try Self.cache())
        let id = RequestID(rawValue: 1)
        inbox.expect(id, 0 ..< 20, [0, 1].map { BlockID(rawValue: $0) }, firstAttempt: 1)
        #expect(inbox.overdue(.seconds(60)).isEmpty)
        #expect(inbox.overdue(.zero) == [id])
        #expect(inbox.drop(id) && !inbox.drop(id))
        #expect(inbox.overdue(.zero).isEmpty)
    }
}
