import Cluster
import Collectives
import Foundation
import Models
import Synchronization
import Topology
import Transport

/// Runs `body` on rank 0 of a model whose experts several ranks share, as threads of this process.
///
/// The other ranks lend their experts to each pass of rank 0 until `body` returns.
func onRanks(
    _ count: Int, _ arguments: ModelArguments, _ body: (LoadedModel) throws -> Void
) throws {
    guard count > 1 else { return try body(arguments.load()) }
    let experts = try ModelConfiguration.load(directory: arguments.model).routedExpertCount
    _ = try ExpertPlacement.contiguous(expertCount: experts, rankCount: count)
    let fabrics = try makeLoopbackFabrics(rankCount: count)
    defer { for fabric in fabrics { fabric.close() } }
    let followers = fabrics.dropFirst().map { RankFollower($0, arguments: arguments, of: count) }
    for follower in followers { follower.start() }
    defer {
        for follower in followers { follower.tell(nil) }
        for follower in followers { follower.join() }
    }
    let loaded = try arguments.load(sharing: fabrics[0], among: count, isQuiet: false)
    loaded.model.willRun = { pass in for follower in followers { follower.tell(pass) } }
    try body(loaded)
}

extension ModelArguments {
    /// Tokens that one rank sends in one pass: the generator's chunk.
    static let maximumTokens = 512

    /// Loads the model with one rank's experts only.
    func load(
        sharing fabric: any Fabric, among ranks: Int, tokens: Int = Self.maximumTokens,
        isQuiet: Bool
    ) throws -> LoadedModel {
        try load(
            threads: threads(ranks: ranks),
            group: { configuration, compute in
                try ExpertParallelGroup(
                    fabric: fabric,
                    configuration: configuration.expertParallel(
                        maximumTokensPerRank: tokens, compute: compute),
                    placement: try .contiguous(
                        expertCount: configuration.routedExpertCount, rankCount: ranks))
            }, isQuiet: isQuiet)
    }
}

/// A rank that lends its experts to the passes of rank 0.
private final class RankFollower: @unchecked Sendable {
    // Safe because: what changes is behind the mutex, and the semaphores order the rest.
    private let fabric: any Fabric
    private let arguments: ModelArguments
    private let rankCount: Int
    private let passes = Mutex<[ModelPass?]>([])
    private let waiting = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    init(_ fabric: any Fabric, arguments: ModelArguments, of rankCount: Int) {
        self.fabric = fabric
        self.arguments = arguments
        self.rankCount = rankCount
    }

    func start() {
        Thread.detachNewThread { [self] in
            defer { ended.signal() }
            do { try follow() } catch {
                StandardStream.error.say("apus: \(fabric.rank): \(error)\n")
                fabric.close()
            }
        }
    }

    /// Announces a pass, or the end.
    func tell(_ pass: ModelPass?) {
        passes.withLock { $0.append(pass) }
        waiting.signal()
    }

    func join() { ended.wait() }

    private func follow() throws {
        let loaded = try arguments.load(sharing: fabric, among: rankCount, isQuiet: true)
        let cache = loaded.cache(tokens: 1)
        while true {
            waiting.wait()
            guard let pass = passes.withLock({ $0.removeFirst() }) else { return }
            try loaded.model.follow(pass, cache: cache)
        }
    }
}
