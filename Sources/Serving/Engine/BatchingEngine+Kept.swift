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
        guard let kept, kept.store.mayRead else { return false }
        let missing = scheduler.missingBlocks(of: request)
        guard !missing.isEmpty else { return false }
        expect(request.id)
        kept.store.restore(missing, since: begin, done: done)
        return true
    }

    /// Takes the blocks that were read for a request into the cache.
    ///
    /// - Returns: Whether somebody still waits for the request.
    func resume(_ request: GenerationRequest, with blocks: [PrefixStore.Block]) -> Bool {
        guard let kept else { return isExpected(request.id) }
        defer { kept.store.taken(blocks.count) }
        guard isExpected(request.id), let first = blocks.first else {
            return isExpected(request.id)
        }
        // What became full must be copied before a block of it is taken.
        keepFullBlocks()
        let adopted = scheduler.adopt(
            first.what.index ..< first.what.index + blocks.count, of: request)
        for (index, block) in adopted {
            kept.fill(block, with: blocks[index - first.what.index].entries)
        }
        kept.store.noteRestored(tokens: adopted.count * scheduler.blockTokens)
        return true
    }
}
