extension BatchingEngine {
    /// Counts a step that was performed.
    func count(_ plan: StepPlan) {
        totals.steps += 1
        for entry in plan.entries where entry.draftCount == 0 && entry.tokens.count > 1 {
            totals.promptTokens += UInt64(entry.tokens.count)
        }
    }

    /// What this engine has done and holds.
    var statistics: EngineStatistics {
        var now = totals
        now.running = scheduler.runningCount
        now.waiting = scheduler.waitingCount
        now.blockCount = scheduler.allocator.capacity
        now.blockTokens = scheduler.blockTokens
        now.blocksCached = scheduler.prefixes.reclaimableCount
        now.blocksInUse = now.blockCount - scheduler.allocator.freeCount - now.blocksCached
        now.prefixQueries = scheduler.prefixQueries
        now.prefixHits = scheduler.prefixHits
        now.prefixFiles = kept?.store.counts
        now.preemptions = scheduler.preemptions
        return now
    }
}
