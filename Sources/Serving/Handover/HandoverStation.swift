import Foundation
import Models
import Synchronization
import Topology
import Transport

/// One rank's end of all hand-overs: its links, what leaves by them, and what arrives.
///
/// A router says which ranks are linked. Threads of links move bytes; the engine's thread decides
/// what is moved, and hears of it by events.
///
/// 1. A failure of a link ends its prompts on both sides, and nothing else.
final class HandoverStation: Sendable {
    /// Makes the fabric of a link. Its errors call ranks as the job does.
    typealias MakeFabric = @Sendable (LinkOrder, any AddressExchange) throws -> any Fabric

    private struct State {
        var exchanges: [UInt64: RelayedExchange] = [:]
        /// What peers said of links whose order is still on its way.
        var early: [LinkBlob] = []
        var links: [UInt64: HandoverLink] = [:]
        /// Prompts on their way out.
        var transfers: [RequestID: Transfer] = [:]
        var totals = HandoverTotals()
        var isClosed = false
        var report: (@Sendable (HandoverReport) -> Void)?
        var deliver: (@Sendable (HandoverEvent) -> Void)?
    }

    private struct Transfer {
        let transfer: HandoverTransfer
        /// Blocks that were given to the link.
        var enqueued: Int
    }

    let inbox: HandoverInbox
    private let cache: BlockCache
    private let makeFabric: MakeFabric
    private let limit: Duration
    private let state = Mutex(State())

    /// - Parameter limit: How long one side of a link may wait for the other.
    init(_ cache: BlockCache, limit: Duration, makeFabric: @escaping MakeFabric) {
        self.cache = cache
        self.limit = limit
        self.makeFabric = makeFabric
        inbox = HandoverInbox(cache)
    }

    /// Says where events go: to the engine of this rank.
    func open(_ deliver: @escaping @Sendable (HandoverEvent) -> Void) {
        state.withLock { $0.deliver = deliver }
    }

    /// Says where reports go: to the router.
    func meet(_ report: @escaping @Sendable (HandoverReport) -> Void) {
        state.withLock { $0.report = report }
    }

    /// What was handed over so far.
    var totals: HandoverTotals { state.withLock { $0.totals } }

    func report(_ report: HandoverReport) { state.withLock { $0.report }?(report) }

    private func deliver(_ event: HandoverEvent) { state.withLock { $0.deliver }?(event) }

    /// Counts a hand-over that failed on this rank.
    func countFailure() { state.withLock { $0.totals.failures += 1 } }

    /// Takes what the router said; returns at once.
    func receive(_ command: HandoverCommand) {
        switch command {
        case .prefill(let order): deliver(.prefill(order))
        case .compute(let id): deliver(.compute(id))
        case .link(let order): make(order)
        case .blob(let blob): hear(blob)
        case .unlink(let number):
            let (exchange, link) = state.withLock {
                ($0.exchanges.removeValue(forKey: number), $0.links.removeValue(forKey: number))
            }
            exchange?.close()
            link?.end("the router ended it")
        }
    }

    /// Ends all links.
    func close() {
        let (exchanges, links) = state.withLock { state in
            state.isClosed = true
            defer { (state.exchanges, state.links) = ([:], [:]) }
            return (Array(state.exchanges.values), Array(state.links.values))
        }
        for exchange in exchanges { exchange.close() }
        for link in links { link.end("the rank stops") }
    }

    // MARK: Links

    /// Far more than any rank has peers that live.
    private static let mostLinks = 256
    private static let mostEarlyBlobs = 64

    private func hear(_ blob: LinkBlob) {
        let exchange = state.withLock { state -> RelayedExchange? in
            if let exchange = state.exchanges[blob.number] { return exchange }
            state.early.append(blob)
            state.early.removeFirst(max(0, state.early.count - Self.mostEarlyBlobs))
            return nil
        }
        exchange?.hear(blob)
    }

    private func make(_ order: LinkOrder) {
        let exchange = RelayedExchange(order) { [weak self] in self?.report(.blob($0)) }
        let (mayBe, old) = state.withLock { state -> (Bool, HandoverLink?) in
            // A peer has one link, in one direction: of an older one the router was told, or is
            // gone.
            let old = state.links.first {
                Set($0.value.order.members) == Set(order.members)
            }?.key
            let stale = old.flatMap { state.links.removeValue(forKey: $0) }
            guard !state.isClosed, state.exchanges.count < Self.mostLinks else {
                return (false, stale)
            }
            state.exchanges[order.number] = exchange
            for blob in state.early where blob.number == order.number { exchange.hear(blob) }
            state.early.removeAll { $0.number == order.number }
            return (true, stale)
        }
        old?.end("another link takes its place")
        guard mayBe else {
            return report(.unlinked(order.number, reason: "this rank makes no more links"))
        }
        let thread = Thread { [self] in run(order, exchange) }
        thread.name = "apus-handover"
        thread.start()
    }

    /// The life of a link, on its own thread.
    private func run(_ order: LinkOrder, _ exchange: RelayedExchange) {
        var made: HandoverLink?
        do {
            let fabric = try makeFabric(order, exchange)
            defer { fabric.close() }
            let link = try HandoverLink(order, fabric: fabric, cache: cache, limit: limit)
            made = link
            let isWanted = state.withLock { state in
                guard state.exchanges.removeValue(forKey: order.number) != nil else { return false }
                state.links[order.number] = link
                return true
            }
            guard isWanted else { return }
            report(.linked(order.number))
            state.withLock { $0.totals.links += 1 }
            defer { state.withLock { $0.totals.links -= 1 } }
            if order.place == 0 {
                try link.send { sent($0, $1) }
            } else {
                try link.receive(into: inbox) { arrived($0, $1) }
            }
        } catch {
            leave(order, made?.reason ?? "\(error)")
            return
        }
        leave(order, made?.reason ?? "it was ended")
    }

    /// Lets go of what a link that ended still had to send.
    private func leave(_ order: LinkOrder, _ reason: String) {
        let stopped = state.withLock { state -> [HandoverTransfer] in
            state.exchanges[order.number] = nil
            state.links[order.number] = nil
            let stopped = state.transfers.values.map(\.transfer)
                .filter { $0.order.link == order.number }
            for transfer in stopped { state.transfers[transfer.order.request.id] = nil }
            return stopped
        }
        for transfer in stopped {
            transfer.abort()
            deliver(
                .notSent(transfer.order.request.id, attempt: transfer.order.attempt, reason: reason)
            )
        }
        report(.unlinked(order.number, reason: reason))
    }

    private func arrived(_ piece: HandoverPiece, _ outcome: HandoverInbox.Outcome) {
        guard case .whole(let cachedTokens, let duration) = outcome else { return }
        state.withLock { state in
            state.totals.promptsReceived += 1
            state.totals.seconds += duration.seconds
        }
        deliver(.arrived(piece.request, cachedTokens: cachedTokens))
    }

    private func sent(_ transfer: HandoverTransfer, _ bytes: Int) {
        state.withLock { state in
            state.totals.promptsSent += 1
            state.totals.bytesSent += UInt64(bytes)
            let id = transfer.order.request.id
            // Another attempt may have taken its place.
            if state.transfers[id]?.transfer === transfer { state.transfers[id] = nil }
        }
        deliver(.sent(transfer.order.request.id, attempt: transfer.order.attempt))
    }

    // MARK: Prompts that leave

    /// Prepares to send a prompt.
    ///
    /// - Throws: `ServingError.engine` where its link is gone, or it does not fit this cache.
    func begin(_ order: PrefillOrder) throws(ServingError) {
        let id = order.request.id
        guard order.start >= 0, order.start < order.request.prompt.count,
            order.start.isMultiple(of: cache.blockTokens)
        else {
            throw .engine(
                message: "a hand-over of \(order.request.prompt.count) tokens from"
                    + " \(order.start) on: blocks have \(cache.blockTokens)")
        }
        let isLinked = state.withLock { state in
            guard state.links[order.link] != nil else { return false }
            state.transfers[id] = Transfer(
                transfer: HandoverTransfer(order), enqueued: order.start / cache.blockTokens)
            return true
        }
        guard isLinked else {
            throw .engine(message: "the link to the decode rank of \(id.rawValue) is gone")
        }
    }

    /// Sends the blocks of a prompt that are complete, without those that were sent before.
    ///
    /// - Parameters:
    ///   - computed: Positions whose entries are there.
    ///   - cachedTokens: Those that were there before anything was computed.
    func advance(_ id: RequestID, _ blocks: [BlockID], computed: Int, cachedTokens: Int) {
        let batch = state.withLock { state -> (HandoverLink, HandoverBatch)? in
            guard let entry = state.transfers[id],
                let link = state.links[entry.transfer.order.link]
            else { return nil }
            let end = entry.transfer.order.request.prompt.count
            let isLast = computed >= end
            let complete =
                isLast ? cache.blocksNeeded(tokens: end) : computed / cache.blockTokens
            guard complete > entry.enqueued else { return nil }
            state.transfers[id]?.enqueued = complete
            return (
                link,
                HandoverBatch(
                    transfer: entry.transfer, blocks: Array(blocks[entry.enqueued ..< complete]),
                    first: entry.enqueued, end: end, cachedTokens: cachedTokens, isLast: isLast)
            )
        }
        if let (link, batch) = batch { link.enqueue(batch) }
    }

    /// Sends nothing more of a prompt: its blocks are about to be used otherwise.
    func abort(_ id: RequestID) {
        state.withLock { $0.transfers.removeValue(forKey: id) }?.transfer.abort()
    }

    /// Forgets every prompt, on its way out or in.
    func dropAll() {
        let all = state.withLock { state in
            defer { state.transfers = [:] }
            return Array(state.transfers.values)
        }
        for entry in all { entry.transfer.abort() }
        inbox.dropAll()
    }
}
