import Encoding
import Models
import Testing

@testable import Serving

/// A text whose next token is a function of all tokens before it, read back through block tables.
///
/// It stands for the network: if the scheduler mixes up one block, the text changes.
struct EchoNetwork {
    var cache: [[Int]]
    let blockTokens: Int

    init(blockCount: Int, blockTokens: Int) {
        cache = Array(repeating: Array(repeating: -1, count: blockTokens), count: blockCount)
        self.blockTokens = blockTokens
    }

    /// Writes the entry's tokens and returns the token that follows each of them.
    mutating func run(_ entry: StepEntry) -> [Int] {
        for (offset, token) in entry.tokens.enumerated() {
            let position = entry.start + offset
            let block = Int(entry.blocks[position / blockTokens].rawValue)
            cache[block][position % blockTokens] = token
        }
        return entry.tokens.indices.map { offset in
            next(
                after: (0 ... entry.start + offset).map {
                    cache[Int(entry.blocks[$0 / blockTokens].rawValue)][$0 % blockTokens]
                })
        }
    }

    func next(after tokens: [Int]) -> Int { EchoNetwork.next(after: tokens) }

    static func next(after tokens: [Int]) -> Int {
        var hash: UInt64 = 1469
        for token in tokens { hash = (hash ^ UInt64(token + 7)) &* 0x100_0000_01B3 }
        return Int(hash >> 20 % 97)
    }

    static func continuation(of prompt: [Int], count: Int) -> [Int] {
        var tokens = prompt
        for _ in 0 ..< count { tokens.append(next(after: tokens)) }
        return Array(tokens.dropFirst(prompt.count))
    }
}

/// Runs a scheduler over the echo network until every request has its tokens.
struct SchedulerRun {
    var scheduler: Scheduler
    var network: EchoNetwork
    var wanted: [RequestID: Int] = [:]
    var finished: [RequestID: [Int]] = [:]
    var steps = 0
    /// Blocks that outlive the scheduler.
    var files: [PrefixKey: [Int]] = [:]
    var restored = 0

    init(
        limits: Scheduler.Limits = .init(), blockCount: Int, blockTokens: Int = 4,
        usesPrefixCache: Bool = true, origin: Digest? = nil
    ) {
        scheduler = Scheduler(
            limits: limits, blockCount: blockCount, blockTokens: blockTokens,
            usesPrefixCache: usesPrefixCache, origin: origin)
        network = EchoNetwork(blockCount: blockCount, blockTokens: blockTokens)
    }

    mutating func submit(_ id: UInt64, _ prompt: [Int], _ count: Int) throws {
        let request = GenerationRequest(
            id: RequestID(rawValue: id), prompt: prompt, maxNewTokens: count)
        restore(request)
        try scheduler.submit(request)
        wanted[request.id] = count
    }

    /// Brings back what the files have of a request.
    private mutating func restore(_ request: GenerationRequest) {
        keepFullBlocks()
        let found = scheduler.missingBlocks(of: request).prefix { files[$0.key] != nil }
        guard let first = found.first else { return }
        let range = first.index ..< first.index + found.count
        for (index, block) in scheduler.adopt(range, of: request) {
            network.cache[Int(block.rawValue)] = files[found[index - first.index].key]!
            restored += 1
        }
    }

    mutating func keepFullBlocks() {
        for full in scheduler.takeFullBlocks() {
            files[full.what.key] = network.cache[Int(full.block.rawValue)]
        }
    }

    /// Performs one step.
    ///
    /// Drafts are right when `draftsAreRight` says so, else wrong.
    mutating func step(draft: ((RequestID) -> Bool)? = nil) {
        keepFullBlocks()
        let entries = scheduler.plan()
        steps += 1
        for entry in entries {
            let following = network.run(entry)
            guard entry.reachesEnd else {
                scheduler.advance(
                    entry.id, computed: entry.start + entry.tokens.count, newTokens: [], drafts: [])
                continue
            }
            let last = entry.tokens.count - entry.draftCount - 1
            var new = [following[last]]
            while new.count <= entry.draftCount, entry.tokens[last + new.count] == new.last! {
                new.append(following[last + new.count])
            }
            let before = scheduler[entry.id]!
            let room = wanted[entry.id]! - (before.tokens.count - promptCount(entry.id))
            new = Array(new.prefix(room))
            let tokens = before.tokens + new
            let drafts = draft.map { right in
                [network.next(after: tokens) + (right(entry.id) ? 0 : 1)]
            }
            scheduler.advance(
                entry.id, computed: tokens.count - 1, newTokens: new, drafts: drafts ?? [])
            if tokens.count - promptCount(entry.id) >= wanted[entry.id]! {
                finished[entry.id] = Array(tokens.dropFirst(promptCount(entry.id)))
                scheduler.remove(entry.id)
            }
        }
    }

    func promptCount(_ id: RequestID) -> Int { scheduler[id]!.maxTokens - wanted[id]! }

    mutating func finish(draft: ((RequestID) -> Bool)? = nil, within limit: Int = 10_000) {
        while scheduler.hasWork, steps < limit { step(draft: draft) }
    }
}

@Suite struct SchedulerTests {
    @Test func `every request gets its own text when hundreds share too few blocks`() throws {
        for seed in UInt64(1) ... 12 {
            var random = SplitMix64(seed: seed)
            var run = SchedulerRun(
                limits: .init(
                    running: 8, waiting: 1000, stepTokens: 24, promptTokensBesideStreams: 9),
                blockCount: 24, usesPrefixCache: seed % 3 != 0)
            let stems = (0 ..< 4).map { _ in
                (0 ..< 20).map { _ in Int.random(in: 0 ..< 97, using: &random) }
            }
            var expected: [RequestID: [Int]] = [:]
            for id in UInt64(1) ... 150 {
                let stem = stems.randomElement(using: &random)!
                let prompt =
                    stem.prefix(Int.random(in: 1 ... 20, using: &random))
                    + (0 ..< Int.random(in: 0 ... 20, using: &random)).map { _ in
                        Int.random(in: 0 ..< 97, using: &random)
                    }
                let count = Int.random(in: 1 ... 30, using: &random)
                try run.submit(id, Array(prompt), count)
                expected[RequestID(rawValue: id)] = EchoNetwork.continuation(
                    of: Array(prompt), count: count)
                if id % 3 == 0 { run.step(draft: { _ in Bool.random(using: &random) }) }
            }
            run.finish(draft: { _ in Bool.random(using: &random) })
            #expect(run.finished == expected, "seed \(seed)")
            let scheduler = run.scheduler
            let idle = scheduler.allocator.freeCount + scheduler.prefixes.reclaimableCount
            #expect(idle == 24, "seed \(seed): blocks leaked")
        }
    }

    @Test func `texts stay right when blocks come back from files, also after a restart`() throws {
        for seed in UInt64(1) ... 12 {
            var random = SplitMix64(seed: seed)
            var files: [PrefixKey: [Int]] = [:]
            let stems = (0 ..< 4).map { _ in
                (0 ..< 24).map { _ in Int.random(in: 0 ..< 97, using: &random) }
            }
            var restored = 0
            for _ in 0 ..< 3 {
                var run = SchedulerRun(
                    limits: .init(running: 8, waiting: 1000, stepTokens: 24),
                    blockCount: 24, origin: Digest(of: [1]))
                run.files = files
                var expected: [RequestID: [Int]] = [:]
                for id in UInt64(1) ... 60 {
                    let prompt =
                        stems.randomElement(using: &random)!
                        .prefix(Int.random(in: 1 ... 24, using: &random))
                        + (0 ..< Int.random(in: 0 ... 9, using: &random)).map { _ in
                            Int.random(in: 0 ..< 97, using: &random)
                        }
                    let count = Int.random(in: 1 ... 30, using: &random)
                    try run.submit(id, Array(prompt), count)
                    expected[RequestID(rawValue: id)] = EchoNetwork.continuation(
                        of: Array(prompt), count: count)
                    if id % 3 == 0 { run.step(draft: { _ in Bool.random(using: &random) }) }
                }
                run.finish(draft: { _ in Bool.random(using: &random) })
                run.keepFullBlocks()
                #expect(run.finished == expected, "seed \(seed)")
                let (allocator, prefixes) = (run.scheduler.allocator, run.scheduler.prefixes)
                #expect(allocator.freeCount + prefixes.reclaimableCount == 24, "seed \(seed)")
                files = run.files
                restored += run.restored
            }
            #expect(restored > 20, "seed \(seed)")
        }
    }

    @Test func `a running stream gets a token in every step while a long prompt is read`() throws {
        var run = SchedulerRun(
            limits: .init(running: 4, stepTokens: 64, promptTokensBesideStreams: 16),
            blockCount: 100)
        try run.submit(1, [1, 2, 3], 40)
        run.step()
        try run.submit(2, (0 ..< 200).map { $0 % 97 }, 4)
        for _ in 0 ..< 12 {
            let entries = run.scheduler.plan()
            #expect(entries.contains { $0.id.rawValue == 1 })
            #expect(entries.filter { $0.id.rawValue == 2 }.allSatisfy { $0.tokens.count <= 16 })
            run.step()
        }
    }

    @Test func `texts of a rank that is gone take no larger steps than beside streams`() throws {
        // Streams of other ranks wait for these steps, although this rank has none.
        func rows(_ resumption: Resumption?) throws -> [Int] {
            var run = SchedulerRun(
                limits: .init(running: 4, stepTokens: 64, promptTokensBesideStreams: 16),
                blockCount: 100)
            for id in 1 ... 2 as ClosedRange<UInt64> {
                var request = GenerationRequest(
                    id: RequestID(rawValue: id), prompt: (0 ..< 40).map { $0 % 97 },
                    maxNewTokens: 2)
                request.resumption = resumption
                try run.scheduler.submit(request)
                run.wanted[request.id] = 2
            }
            var rows: [Int] = []
            while run.scheduler.hasWork {
                rows.append(run.scheduler.plan().reduce(0) { $0 + $1.tokenCount })
                run.step()
            }
            return rows
        }
        #expect(try rows(nil).first == 64)
        let resumed = try rows(Resumption(hasBegun: true))
        // A stream's own token is beside the bound.
        #expect(resumed.first == 16 && resumed.allSatisfy { $0 <= 16 + 4 }, "\(resumed)")
    }

    @Test func `a short prompt overtakes a long one that came first`() throws {
        var run = SchedulerRun(
            limits: .init(running: 4, stepTokens: 32, promptTokensBesideStreams: 32),
            blockCount: 200)
        try run.submit(1, (0 ..< 300).map { $0 % 97 }, 1)
        try run.submit(2, [5, 6, 7], 1)
        run.step()
        #expect(run.finished.keys.map(\.rawValue) == [2])
    }

    @Test func `a request larger than the cache is refused with the figures`() {
        var run = SchedulerRun(blockCount: 4)
        #expect(
            throws: ServingError.invalidRequest(
                message: "30 tokens need 8 blocks of 4 tokens: the latent cache has 4 blocks",
                parameter: "max_tokens")
        ) { try run.submit(1, Array(repeating: 1, count: 10), 20) }
    }

    @Test func `the queue of waiting requests has a limit`() throws {
        var run = SchedulerRun(limits: .init(running: 1, waiting: 2), blockCount: 100)
        try run.submit(1, [1], 1)
        try run.submit(2, [1], 1)
        #expect(throws: ServingError.self) { try run.submit(3, [1], 1) }
    }

    @Test func `a cancelled request frees its blocks at once`() throws {
        var run = SchedulerRun(blockCount: 100, usesPrefixCache: false)
        try run.submit(1, Array(0 ..< 50), 10)
        run.step()
        #expect(run.scheduler.allocator.freeCount < 100)
        run.scheduler.remove(RequestID(rawValue: 1))
        #expect(run.scheduler.allocator.freeCount == 100)
        #expect(!run.scheduler.hasWork)
    }

    @Test func `a second request with the same prompt computes only its last block`() throws {
        var run = SchedulerRun(blockCount: 100)
        let prompt = (0 ..< 22).map { $0 % 97 }
        try run.submit(1, prompt, 2)
        run.finish()
        try run.submit(2, prompt, 2)
        let entry = try #require(run.scheduler.plan().first)
        #expect(entry.start == 20)
        #expect(run.scheduler.prefixHits == 20)
    }

    @Test func `requests of different salts share nothing`() throws {
        var run = SchedulerRun(blockCount: 100)
        let prompt = Array(0 ..< 22)
        try run.submit(1, prompt, 2)
        run.finish()
        var request = GenerationRequest(
            id: RequestID(rawValue: 2), prompt: prompt, maxNewTokens: 2)
        request.cacheSalt = 9
        try run.scheduler.submit(request)
        #expect(run.scheduler.plan().first?.start == 0)
    }
}
