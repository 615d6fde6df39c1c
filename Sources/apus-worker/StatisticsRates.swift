import Cluster
import Serving
import Synchronization
import Topology

/// Turns an engine's totals into what happened per second lately.
final class StatisticsRates: Sendable {
    private struct Sample {
        var totals: EngineStatistics
        var at: ContinuousClock.Instant
    }

    private let samples = Mutex<[Sample]>([])
    /// Of the job.
    private let rankCount: Int

    init(rankCount: Int) { self.rankCount = rankCount }

    /// Long enough to hold several steps of a large model, short enough to show a change.
    private static let window = Duration.seconds(3)

    /// Takes a sample, and compares it with the oldest of the window.
    func statistics(_ now: EngineStatistics) -> RankStatistics {
        let sample = Sample(totals: now, at: .now)
        let oldest = samples.withLock { samples in
            samples.removeAll { sample.at - $0.at > Self.window }
            samples.append(sample)
            return samples[0]
        }
        var statistics = RankStatistics()
        statistics.steps = Int(clamping: now.steps)
        statistics.runningRequests = now.running
        statistics.waitingRequests = now.waiting
        statistics.cacheShare =
            now.blockCount > 0 ? Double(now.blocksInUse) / Double(now.blockCount) : 0
        let elapsed = sample.at - oldest.at
        guard elapsed > .zero else { return statistics }
        let seconds =
            Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let before = oldest.totals
        let total = now.time.total - before.time.total
        let allToAll = now.time.travel - before.time.travel
        let exposed = now.time.exposed - before.time.exposed
        statistics.stepsPerSecond = Double(now.steps &- before.steps) / seconds
        statistics.tokensPerSecond =
            Double(now.generatedTokens &- before.generatedTokens) / seconds
        statistics.promptTokensPerSecond =
            Double(now.promptTokens &- before.promptTokens) / seconds
        func share(_ part: Double) -> Double { total > 0 ? min(1, max(0, part / total)) : 0 }
        statistics.allToAllShare = share(allToAll)
        statistics.exposedShare = share(exposed)
        statistics.expertShare = share(now.time.expertCompute - before.time.expertCompute)
        statistics.waitShare = share(now.time.stepWait - before.time.stepWait)
        statistics.hiddenShare = allToAll > 0 ? max(0, 1 - exposed / allToAll) : 0
        add(now.sent, since: before.sent, seconds, to: &statistics)
        return statistics
    }

    /// What was sent to whom.
    private func add(
        _ now: SentBytes, since before: SentBytes, _ seconds: Double,
        to statistics: inout RankStatistics
    ) {
        func rate(_ late: UInt64, _ early: UInt64) -> Int {
            Int(clamping: UInt64((Double(late &- early) / seconds).rounded()))
        }
        statistics.sentInsidePerSecond = rate(now.insideNode, before.insideNode)
        statistics.sentAcrossPerSecond = rate(now.acrossNodes, before.acrossNodes)
        let rates = (0 ..< rankCount).map { rate(now.bytes(to: $0), before.bytes(to: $0)) }
        if let most = rates.max(), most > 0 {
            statistics.busiestReceiver = rates.firstIndex(of: most).map { Rank(rawValue: $0) }
        }
        if rankCount <= RankStatistics.matrixRanks { statistics.sentPerSecond = rates }
    }
}
