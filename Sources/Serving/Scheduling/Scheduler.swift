import Encoding
import Models

/// Decides what each step of one rank computes: which sequences, how many tokens of each.
///
/// A value: arrivals, cancellations and results go in, step plans come out. It does no I/O.
///
/// ```
///   submit             blocks for its prompt           advance: tokens computed
///   ──────► waiting ─────────────────────────► running ◄─┐
///              ▲  │                             │ │  └────┘
///              │  │     an older one needs its  │ │
///              └──┼──── blocks: preempted ──────┘ │
///                 └─── remove: ended or cancelled ┴──► gone; full blocks stay as a prefix
/// ```
///
/// 1. Every running sequence that only waits for its next token gets it in every step.
/// 2. Prompts share what is left of the step's tokens, smallest need first, so a short prompt is
///    not held up by a long one, and a long one always moves.
/// 3. A sequence is preempted only by an older one, so the oldest always finishes.
/// 4. What a step computes never depends on who shares it: the kernels are batch-invariant.
struct Scheduler {
    /// What one rank may hold and do at once.
    struct Limits: Hashable, Sendable {
        /// Sequences in the batch.
        var running = 64
        /// Requests that wait.
        var waiting = 512
        /// Tokens of one step.
        var stepTokens = 512
        /// Prompt tokens of a step beside streams, or with texts of a rank that is gone.
        var promptTokensBesideStreams = 128
        /// Tokens to compute from which a prompt is worth handing over.
        var handoverTokens = 128
    }

    let limits: Limits
    private(set) var allocator: BlockAllocator
    private(set) var prefixes: PrefixTree
    private let usesPrefixCache: Bool
    var sequences = SequenceTable()
    /// Both by arrival, oldest first.
    private var runningOrder: [RequestID] = []
    private var waitingOrder: [RequestID] = []
    private var arrivals: UInt64 = 0
    private(set) var preemptions: UInt64 = 0
    private(set) var prefixQueries: UInt64 = 0
    private(set) var prefixHits: UInt64 = 0
    /// What computed the entries of the blocks that are kept in files; nil keeps none.
    private let origin: Digest?
    private var fullBlocks: [FullBlock] = []
    /// Requests after which a block that is still used counts as used in files, too.
    private static let keepingInterval: UInt64 = 256
    /// Requests whose entries are to come from another rank, and which nobody was told of yet.
    var granted: [RequestID] = []
    /// Requests whose blocks were taken back while entries were on their way from or to another
    /// rank, and which nobody was told of yet.
    var withdrawn: [RequestID] = []

    init(
        limits: Limits, blockCount: Int, blockTokens: Int, usesPrefixCache: Bool = true,
        origin: Digest? = nil
    ) {
        precondition(limits.running <= limits.stepTokens, "every stream needs a token per step")
        self.limits = limits
        self.usesPrefixCache = usesPrefixCache
        self.origin = usesPrefixCache ? origin : nil
        allocator = BlockAllocator(capacity: blockCount)
        prefixes = PrefixTree(blockTokens: blockTokens)
    }

    var blockTokens: Int { prefixes.blockTokens }
    var runningCount: Int { runningOrder.count }
    var waitingCount: Int { waitingOrder.count }
    var hasWork: Bool { !sequences.isEmpty }
    var requests: [RequestID] { runningOrder + waitingOrder }
    subscript(id: RequestID) -> ScheduledSequence? { sequences.find(id) }

    /// Takes a request in, or says why not.
    mutating func submit(_ request: GenerationRequest) throws(ServingError) {
        let total = request.prompt.count + request.maxNewTokens
        let needed = blocks(for: total)
        guard needed <= allocator.capacity else {
            throw .invalidRequest(
                message: "\(total) tokens need \(needed) blocks of \(blockTokens) tokens: the "
                    + "latent cache has \(allocator.capacity) blocks",
                parameter: "max_tokens")
        }
        // What another rank had taken is not refused for want of a place.
        guard waitingOrder.count < limits.waiting || request.resumption != nil else {
            throw .overloaded(
                message: "\(waitingOrder.count) requests are waiting: the limit is "
                    + "\(limits.waiting)", retryAfterSeconds: 1)
        }
        arrivals += 1
        sequences.insert(ScheduledSequence(request, arrival: arrivals))
        waitingOrder.append(request.id)
    }

    /// Forgets a request, finished or not, and frees its blocks.
    ///
    /// Full blocks stay as a prefix.
    mutating func remove(_ id: RequestID) {
        guard sequences.contains(id) else { return }
        collectFullBlocks(of: id)
        releaseBlocks(of: id)
        sequences.remove(id)
        runningOrder.removeAll { $0 == id }
        waitingOrder.removeAll { $0 == id }
    }

    /// Records what a step made of a sequence: how far its latents reach now, and its new tokens.
    mutating func advance(_ id: RequestID, computed: Int, newTokens: [Int], drafts: [Int]) {
        guard sequences.contains(id) else { return }
        sequences[id].tokens += newTokens
        sequences[id].computed = computed
        let room = sequences[id].maxTokens - sequences[id].tokens.count
        sequences[id].drafts = Array(drafts.prefix(max(0, room)))
        precondition(computed <= sequences[id].tokens.count, "latents run ahead of the text")
        // A block is complete when the step after it has ended: drafts add to it what they need.
        collectFullBlocks(of: id)
        publishIfCached(id)
    }

    /// Gives the full blocks of a sequence to the prefix cache, where there is one.
    mutating func publishIfCached(_ id: RequestID) { if usesPrefixCache { publish(id) } }

    /// Chooses the next step's work.
    ///
    /// Empty when nobody can move.
    mutating func plan() -> [StepEntry] {
        var entries = planStreams()
        var budget = limits.stepTokens - entries.reduce(0) { $0 + $1.tokenCount }
        if !entries.isEmpty || computesResumed {
            budget = min(budget, limits.promptTokensBesideStreams)
        }
        let planned = Set(entries.map(\.id))
        admit(budget: budget, beside: planned)
        entries += planPrompts(budget: budget, beside: planned)
        if entries.isEmpty {
            let movable = runningOrder.filter { sequences[$0].isMovable }
            if movable.count > 1, let youngest = movable.last {
                preempt(youngest)
                return plan()
            }
        }
        return entries
    }
}

extension Scheduler {
    /// Whether texts of a rank that is gone are computed again: it happens on all ranks at once,
    /// and streams of others wait for the steps of a rank that has none yet.
    private var computesResumed: Bool {
        requests.contains { sequences[$0].isResumed && sequences[$0].isMovable }
    }

    /// One entry for each sequence that waits only for its next token, with its drafts (1).
    private mutating func planStreams() -> [StepEntry] {
        var entries: [StepEntry] = []
        var spare = limits.stepTokens - limits.running
        for id in runningOrder {
            // Preempted meanwhile, by an older one of this loop.
            guard sequences[id].isRunning, sequences[id].isStream else { continue }
            if sequences[id].drafts.count > spare { sequences[id].drafts = [] }
            spare -= sequences[id].drafts.count
            let end = sequences[id].tokens.count + sequences[id].drafts.count
            guard reserveByPreempting(id, upTo: end) else { continue }
            entries.append(entry(id, count: 1, drafts: sequences[id].drafts))
        }
        return entries
    }

    /// Shares the budget among prompts under way (2).
    private mutating func planPrompts(
        budget: Int, beside planned: Set<RequestID>
    ) -> [StepEntry] {
        let prompts = runningOrder.filter { !planned.contains($0) && sequences[$0].isMovable }
            .sorted { (sequences[$0].remaining, $0) < (sequences[$1].remaining, $1) }
        var left = budget
        var entries: [StepEntry] = []
        for (index, id) in prompts.enumerated() where left > 0 {
            let share = max(1, left / (prompts.count - index))
            var count = min(share, sequences[id].remaining, left)
            let start = sequences[id].computed
            while count > 0, !reserve(id, upTo: start + count) {
                let held = sequences[id].blocks.count * blockTokens
                count = min(count - 1, held - start)
            }
            guard count > 0 else { continue }
            left -= count
            entries.append(entry(id, count: count, drafts: []))
        }
        return entries.sorted { sequences[$0.id].arrival < sequences[$1.id].arrival }
    }

    /// Moves waiting requests into the batch while there is room for all they will prefill.
    private mutating func admit(budget: Int, beside planned: Set<RequestID>) {
        var promised = runningOrder.reduce(0) { sum, id in
            let sequence = sequences[id]
            return sum + max(0, blocks(for: sequence.tokens.count + 1) - sequence.blocks.count)
        }
        var prompts = runningOrder.count { !planned.contains($0) && sequences[$0].isMovable }
        while let id = waitingOrder.first, runningOrder.count < limits.running, prompts < budget {
            matchPrefix(id)
            let sequence = sequences[id]
            let needed = blocks(for: sequence.tokens.count + 1) - sequence.blocks.count
            guard promised + needed <= availableBlocks || runningOrder.isEmpty else {
                releaseBlocks(of: id)
                return
            }
            countPrefix(id)
            awaitEntries(id)
            promised += blocks(for: sequence.tokens.count + 1) - sequences[id].blocks.count
            if !sequences[id].awaitsEntries { prompts += 1 }
            waitingOrder.removeFirst()
            sequences[id].isRunning = true
            let place = runningOrder.firstIndex { sequences[$0].arrival > sequence.arrival }
            runningOrder.insert(id, at: place ?? runningOrder.endIndex)
        }
    }

    /// Starts a sequence from the longest cached prefix; at least one token is left to compute.
    private mutating func matchPrefix(_ id: RequestID) {
        let sequence = sequences[id]
        precondition(sequence.blocks.isEmpty, "a waiting request holds no blocks")
        guard usesPrefixCache, !sequence.scoresPrompt else { return }
        let path = prefixes.acquire(
            sequence.tokens, atMost: sequence.tokens.count - 1, salt: sequence.salt)
        sequences[id].path = path.map(\.0)
        sequences[id].blocks = path.map(\.1)
        sequences[id].computed = path.count * blockTokens
    }

    private mutating func countPrefix(_ id: RequestID) {
        let sequence = sequences[id]
        prefixQueries += UInt64(sequence.tokens.count)
        prefixHits += UInt64(sequence.computed)
        if sequence.cachedTokens == nil { sequences[id].cachedTokens = sequence.computed }
    }

    /// Gives every block that just became full to the prefix cache, and keeps holding it there.
    private mutating func publish(_ id: RequestID) {
        while true {
            let sequence = sequences[id]
            let index = sequence.path.count
            let end = (index + 1) * blockTokens
            guard end <= sequence.computed else { return }
            let mine = sequence.blocks[index]
            let (node, block) = prefixes.insert(
                mine, tokens: Array(sequence.tokens[index * blockTokens ..< end]),
                below: sequence.path.last ?? .none, salt: sequence.salt)
            if block != mine { allocator.release(mine) }
            sequences[id].blocks[index] = block
            sequences[id].path.append(node)
        }
    }

    private mutating func releaseBlocks(of id: RequestID) {
        let sequence = sequences[id]
        for block in sequence.blocks.dropFirst(sequence.path.count) { allocator.release(block) }
        prefixes.release(sequence.path)
        sequences[id].path = []
        sequences[id].blocks = []
        sequences[id].computed = 0
    }

    private mutating func preempt(_ id: RequestID) {
        withdrawn.append(id)
        sequences[id].awaitsEntries = false
        releaseBlocks(of: id)
        sequences[id].isRunning = false
        sequences[id].drafts = []
        runningOrder.removeAll { $0 == id }
        waitingOrder.insert(id, at: 0)
        preemptions += 1
    }

    /// Gets blocks for a stream, from younger sequences if it must (3).
    private mutating func reserveByPreempting(_ id: RequestID, upTo end: Int) -> Bool {
        while !reserve(id, upTo: end) {
            let youngest = runningOrder.last!
            preempt(youngest)
            if youngest == id { return false }
        }
        return true
    }

    mutating func reserve(_ id: RequestID, upTo end: Int) -> Bool {
        while sequences[id].blocks.count < blocks(for: end) {
            if allocator.freeCount == 0, let evicted = prefixes.evict() {
                allocator.release(evicted)
            }
            guard let block = allocator.allocate() else { return false }
            sequences[id].blocks.append(block)
        }
        return true
    }

    private var availableBlocks: Int { allocator.freeCount + prefixes.reclaimableCount }

    private func blocks(for tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    private func entry(_ id: RequestID, count: Int, drafts: [Int]) -> StepEntry {
        let sequence = sequences[id]
        let start = sequence.computed
        return StepEntry(
            id: id, tokens: Array(sequence.tokens[start ..< start + count]) + drafts,
            draftCount: drafts.count, start: start,
            reachesEnd: start + count == sequence.tokens.count, blocks: sequence.blocks)
    }
}

// MARK: Blocks in files

extension Scheduler {
    /// Full blocks that nobody kept yet; their entries stay as they are until the next `plan` or
    /// `adopt`.
    mutating func takeFullBlocks() -> [FullBlock] {
        defer { fullBlocks = [] }
        return fullBlocks
    }

    /// The blocks of a request's text that the cache does not have, in order.
    func missingBlocks(of request: GenerationRequest) -> [PrefixBlock] {
        guard let origin, request.promptTopLogprobs == nil else { return [] }
        let sequence = ScheduledSequence(request, arrival: 0)
        let limit = sequence.tokens.count - 1
        let present = prefixes.reach(sequence.tokens, atMost: limit, salt: sequence.salt)
        var key = PrefixKey(origin: origin, root: sequence.salt)
        var missing: [PrefixBlock] = []
        for index in 0 ..< limit / blockTokens {
            let tokens = Array(sequence.tokens[index * blockTokens ..< (index + 1) * blockTokens])
            key = key.next(tokens)
            if index >= present {
                missing.append(PrefixBlock(index: index, key: key, tokens: tokens))
            }
        }
        return missing
    }

    /// Takes a request's blocks into the prefix cache, from the stated one on, as far as there is
    /// room for them.
    ///
    /// Requests that wait for blocks are not made to wait longer: then only free ones are taken.
    ///
    /// - Parameter blocks: Their numbers in the text.
    /// - Returns: Which of the blocks are to be filled, at once.
    mutating func adopt(
        _ blocks: Range<Int>, of request: GenerationRequest
    ) -> [(index: Int, block: BlockID)] {
        let sequence = ScheduledSequence(request, arrival: 0)
        let path = prefixes.acquire(
            sequence.tokens, atMost: blocks.lowerBound * blockTokens, salt: sequence.salt)
        var held = path.map(\.0)
        defer { prefixes.release(held) }
        // What was before the blocks may have been evicted since they were asked for.
        guard held.count == blocks.lowerBound else { return [] }
        var adopted: [(index: Int, block: BlockID)] = []
        for index in blocks {
            if allocator.freeCount == 0, waitingOrder.isEmpty, let evicted = prefixes.evict() {
                allocator.release(evicted)
            }
            guard let block = allocator.allocate() else { break }
            let start = index * blockTokens
            let (node, present) = prefixes.insert(
                block, tokens: Array(sequence.tokens[start ..< start + blockTokens]),
                below: held.last ?? .none, salt: sequence.salt)
            held.append(node)
            if present != block {
                allocator.release(block)
            } else {
                _ = prefixes.keep(node, now: arrivals, interval: Self.keepingInterval)
                adopted.append((index, block))
            }
        }
        return adopted
    }

    /// Notes which blocks of a sequence became full in an earlier step.
    private mutating func collectFullBlocks(of id: RequestID) {
        guard let origin else { return }
        let sequence = sequences[id]
        for index in sequence.keys.count ..< max(sequence.keys.count, sequence.path.count) {
            let start = index * blockTokens
            let tokens = Array(sequence.tokens[start ..< start + blockTokens])
            let before = sequences[id].keys.last ?? PrefixKey(origin: origin, root: sequence.salt)
            let key = before.next(tokens)
            sequences[id].keys.append(key)
            guard
                prefixes.keep(
                    sequence.path[index], now: arrivals, interval: Self.keepingInterval)
            else { continue }
            fullBlocks.append(
                FullBlock(
                    what: PrefixBlock(index: index, key: key, tokens: tokens),
                    block: sequence.blocks[index]))
        }
    }
}
