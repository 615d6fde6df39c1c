extension BatchingEngine {
    /// Has files written of the blocks that became full.
    func keepFullBlocks() {
        guard let kept else { return }
        for full in scheduler.takeFullBlocks() { kept.keep(full) }
    }

    /// Has the blocks of a request read that the cache does not have.
    ///
    /// - Parameters:
    ///   - begin: When the request came.
    ///   - done: Told the blocks in order, on another thread; nil asks again.
    /// - Returns: Whether there is anything to wait for; `resume` is due then.
    func restore(
        _ request: GenerationRequest, since begin: ContinuousClock.Instant,
        done: @escaping @Sendable ([PrefixStore.Block]?) -> Void
    ) -> Bool {
        guard read(request, since: begin, done) else { return false }
        expect(request.id)
        return true
    }

    /// The same for a prompt that another rank waits for.
    func restore(
        _ order: PrefillOrder, since begin: ContinuousClock.Instant,
        done: @escaping @Sendable ([PrefixStore.Block]?) -> Void
    ) -> Bool {
        guard read(order.request, since: begin, done) else { return false }
        // Another attempt takes the place of one before it.
        awaitedOrders[order.request.id] = order
        return true
    }

    /// - Returns: Whether there are blocks to read.
    private func read(
        _ request: GenerationRequest, since begin: ContinuousClock.Instant,
        _ done: @escaping @Sendable ([PrefixStore.Block]?) -> Void
    ) -> Bool {
        guard let kept, kept.store.mayRead else { return false }
        let missing = scheduler.missingBlocks(of: request)
        guard !missing.isEmpty else { return false }
        kept.store.restore(missing, since: begin, done: done)
        return true
    }

    /// Takes the blocks that were read for a request into the cache.
    ///
    /// - Returns: Whether somebody still waits for the request.
    func resume(_ request: GenerationRequest, with blocks: [PrefixStore.Block]) -> Bool {
        let isAwaited = isExpected(request.id)
        take(isAwaited ? blocks : [], of: request, read: blocks.count)
        return isAwaited
    }

    /// Takes the blocks that were read for a prompt into the cache, and begins to compute the rest.
    func resume(_ order: PrefillOrder, with blocks: [PrefixStore.Block]) {
        let isAwaited = isAwaited(order)
        take(isAwaited ? blocks : [], of: order.request, read: blocks.count)
        guard isAwaited else { return }
        awaitedOrders[order.request.id] = nil
        take(.prefill(order))
    }

    /// Begins to compute a prompt of which no file has more than the cache.
    func resume(unread order: PrefillOrder) {
        awaitedOrders[order.request.id] = nil
        take(.prefill(order))
    }

    /// Whether blocks of a prompt are read for an attempt that still counts.
    func isAwaited(_ order: PrefillOrder) -> Bool { awaitedOrders[order.request.id] == order }

    /// Takes blocks into the cache.
    ///
    /// - Parameter count: Those that were read.
    private func take(
        _ blocks: [PrefixStore.Block], of request: GenerationRequest, read count: Int
    ) {
        guard let kept else { return }
        defer { kept.store.taken(count) }
        guard let first = blocks.first else { return }
        // What became full must be copied before a block of it is taken.
        keepFullBlocks()
        let adopted = scheduler.adopt(
            first.what.index ..< first.what.index + blocks.count, of: request)
        for (index, block) in adopted {
            kept.fill(block, with: blocks[index - first.what.index].entries)
        }
        kept.store.noteRestored(tokens: adopted.count * scheduler.blockTokens)
    }
}
