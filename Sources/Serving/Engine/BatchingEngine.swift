import Grammar
import Language
import Models
import Tensors

/// What happened to one request in a step.
public struct EngineReport: Codable, Hashable, Sendable {
    /// The request.
    public var id: RequestID
    /// What happened.
    public var event: GenerationEvent
}

/// One rank's engine without its thread: requests and steps in, reports out.
///
/// 1. Every request that was taken ends with exactly one `finished` or `failed`.
final class BatchingEngine {
    let configuration: EngineConfiguration
    let network: any SequenceNetwork
    private let vocabulary: () -> ConstraintVocabulary?
    private let grammars = GrammarCache()
    private(set) var scheduler: Scheduler
    private var active: [RequestID: ActiveRequest] = [:]
    private(set) var reports: [EngineReport] = []
    private(set) var totals = EngineStatistics()
    private var plan: [StepEntry]?
    private var overlap: OverlapTuner
    private var drafting = DraftTuner()
    /// Tokens of this rank in the step that is planned or under way.
    private var plannedTokens = 0
    /// Its streams, if it has nothing else.
    private var plannedStreams = 0
    /// Whether it drafts after the step.
    private var drafts = false
    private var newTokens = 0
    /// Whether the last plan came to nothing though there is work: all its requests failed or wait.
    private(set) var mustPlanAgain = false

    init(
        _ network: any SequenceNetwork, configuration: EngineConfiguration,
        vocabulary: @escaping () -> ConstraintVocabulary? = { nil }
    ) {
        self.network = network
        self.configuration = configuration
        self.vocabulary = vocabulary
        overlap = OverlapTuner(threshold: configuration.overlapThreshold)
        scheduler = Scheduler(
            limits: Scheduler.Limits(
                running: min(configuration.runningLimit, configuration.stepTokens),
                waiting: configuration.waitingLimit, stepTokens: configuration.stepTokens,
                promptTokensBesideStreams: configuration.promptTokensBesideStreams),
            blockCount: network.blockCount, blockTokens: network.blockTokens,
            usesPrefixCache: configuration.usesPrefixCache)
    }

    /// Takes a request.
    ///
    /// What is wrong with it is reported as its failure.
    func submit(_ request: GenerationRequest) {
        do throws(ServingError) {
            try check(request)
            let state = try ActiveRequest(request, grammars: grammars, vocabulary: vocabulary)
            try scheduler.submit(request)
            active[request.id] = state
        } catch {
            reports.append(EngineReport(id: request.id, event: .failed(error)))
        }
    }

    /// Withdraws a request.
    func cancel(_ id: RequestID) {
        guard let state = active[id] else { return }
        end(id, .finished(.cancelled, state.usage))
    }

    /// Ends every request with an error.
    func failAll(_ error: ServingError) {
        for id in active.keys.sorted() { end(id, .failed(error)) }
    }

    /// Takes what was reported since the last call.
    func takeReports() -> [EngineReport] {
        defer { reports = [] }
        return reports
    }

    /// Whether there is anything to compute, and what a step of it would want.
    func prepare() -> StepRequest? {
        if plan == nil { plan = constrain(scheduler.plan()) }
        guard let plan, !plan.isEmpty else {
            self.plan = nil
            drafts = false
            return nil
        }
        var request: StepRequest = []
        plannedTokens = plan.reduce(0) { $0 + $1.tokenCount }
        plannedStreams = plan.allSatisfy(\.isStream) ? plan.count : 0
        if configuration.overlaps, network.sharesExperts,
            overlap.splits(tokens: plannedTokens, step: totals.steps)
        {
            request.insert(.overlap)
        }
        drafts = canDraft(plan)
        if drafts, !network.draftsAlone { request.insert(.draft) }
        return request
    }

    /// Learns from a step how long it took with micro-batches, or without.
    func note(_ time: StepTime, _ request: StepRequest) {
        overlap.note(
            tokens: plannedTokens, seconds: time.total - time.stepWait,
            exposed: time.exposed - time.skew, wasSplit: request.contains(.overlap))
        drafting.note(
            streams: plannedStreams, seconds: time.total - time.stepWait, tokens: newTokens,
            drafted: drafts || request.contains(.draft))
        (plannedTokens, plannedStreams, newTokens) = (0, 0, 0)
    }

    /// Performs one step together with the other ranks.
    func step(_ request: StepRequest) throws {
        let entries = plan ?? []
        plan = nil
        let keepsHidden = drafts || request.contains(.draft)
        var results: [EntryResult] = []
        if request.contains(.overlap) {
            let (first, second) = StepEntry.halves(of: entries)
            let (a, b) = try network.forward(
                chunks(first), chunks(second), keepsHidden: keepsHidden)
            results = choose(first, a) + choose(second, b)
        } else {
            results = choose(
                entries, try network.forward(chunks(entries), keepsHidden: keepsHidden))
        }
        let drafts = keepsHidden ? try draft(results) : [:]
        for result in results { settle(result, draft: drafts[result.entry.id]) }
        count(entries)
    }
}

extension BatchingEngine {
    /// One entry after its forward pass.
    private struct EntryResult {
        let entry: StepEntry
        /// Tokens whose latents are certain now.
        var computed: Int
        var newTokens: [Int] = []
        /// Rows of hidden states in the forward pass, and those of them that are certain.
        let hidden: Tensor?
        let firstRow: Int
        var rows: Int
        /// Why no token could be chosen.
        ///
        /// It ends this request alone.
        var failure: ServingError?
    }

    private func check(_ request: GenerationRequest) throws(ServingError) {
        guard !request.prompt.isEmpty else {
            throw .invalidRequest(message: "the prompt is empty", parameter: "prompt")
        }
        for token in request.prompt + request.stopTokens
        where token < 0 || token >= network.vocabularySize {
            throw .invalidRequest(
                message: "token \(token) is out of range: the model has \(network.vocabularySize)",
                parameter: "prompt")
        }
        do throws(LanguageError) {
            try request.sampling.validate(vocabularySize: network.vocabularySize)
        } catch {
            throw .invalidRequest(message: "\(error)", parameter: nil)
        }
        let total = request.prompt.count + request.maxNewTokens
        guard total <= network.contextLimit else {
            throw .invalidRequest(
                message: "\(total) tokens exceed the context of \(network.contextLimit)",
                parameter: "max_tokens")
        }
    }

    /// Finds which tokens may come next in the constrained texts of a step, before it begins.
    ///
    /// Who has waited longest comes first. Once the step's share of work is spent, the others leave
    /// the step and wait: what they get is what they would have got at once.
    ///
    /// - Returns: The entries that the step can compute.
    private func constrain(_ entries: [StepEntry]) -> [StepEntry] {
        let wanting = entries.enumerated().compactMap { index, entry -> (Int, Int, RequestID)? in
            guard entry.reachesEnd, let state = active[entry.id], state.needsConstraining else {
                return nil
            }
            return (-state.waitedSteps, index, entry.id)
        }
        var missing: Set<RequestID> = []
        var spent = 0
        for (_, _, id) in wanting.sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            if spent >= configuration.constraintSteps {
                active[id]?.wait()
                missing.insert(id)
                continue
            }
            do throws(ServingError) {
                try active[id]?.constrain(spent: &spent)
            } catch {
                end(id, .failed(error))
                missing.insert(id)
            }
        }
        mustPlanAgain = !entries.isEmpty && missing.count == entries.count
        return entries.filter { !missing.contains($0.id) }
    }

    /// Drafting pays while streams are few: each verified draft is one more row to compute.
    private func canDraft(_ plan: [StepEntry]) -> Bool {
        configuration.speculates && network.canDraft
            && plan.count <= configuration.speculationStreams
            && drafting.drafts(streams: plan.count)
            && plan.contains { active[$0.id]?.mayDraft ?? false }
    }

    private func chunks(_ entries: [StepEntry]) -> [SequenceChunk] {
        entries.map { entry in
            let scoresPrompt = active[entry.id]?.request.promptTopLogprobs != nil
            let wanted: WantedLogits =
                entry.draftCount > 0 || scoresPrompt ? .all : entry.reachesEnd ? .last : .none
            return SequenceChunk(
                tokens: entry.tokens, position: entry.start, blocks: entry.blocks, wanted: wanted)
        }
    }

    /// Turns logits into tokens, entry by entry, accepting drafts that were chosen anyway.
    private func choose(
        _ entries: [StepEntry], _ result: ForwardResult
    ) -> [EntryResult] {
        var logitRow = 0
        var hiddenRow = 0
        var results: [EntryResult] = []
        for (entry, chunk) in zip(entries, chunks(entries)) {
            let rows = chunk.wanted == .all ? entry.tokens.count : chunk.wanted == .last ? 1 : 0
            let logits = result.logits.view(rows: logitRow ..< logitRow + rows)
            let certain = entry.tokens.count - entry.draftCount
            var outcome = EntryResult(
                entry: entry, computed: entry.start + certain, hidden: result.hidden,
                firstRow: hiddenRow, rows: certain)
            if var state = active[entry.id] {
                if chunk.wanted == .all { scorePrompt(entry, logits, &state) }
                if entry.reachesEnd {
                    let first = chunk.wanted == .all ? certain - 1 : 0
                    do throws(ServingError) {
                        try chooseTokens(entry, logits, from: first, &state, &outcome)
                    } catch {
                        outcome.failure = error
                    }
                }
                active[entry.id] = state
            }
            results.append(outcome)
            logitRow += rows
            hiddenRow += entry.tokens.count
        }
        return results
    }

    private func chooseTokens(
        _ entry: StepEntry, _ logits: Tensor, from first: Int, _ state: inout ActiveRequest,
        _ outcome: inout EntryResult
    ) throws(ServingError) {
        begin(entry.id, &state)
        var scored: [ScoredToken] = []
        var row = first
        while state.finish == nil {
            guard
                let token = try state.choose(from: logits.row(row), endTokens: network.endTokens)
            else { break }
            scored.append(token)
            outcome.newTokens.append(token.token)
            let accepted = row - first
            guard accepted < entry.draftCount,
                token.token == entry.tokens[entry.tokens.count - entry.draftCount + accepted]
            else { break }
            row += 1
            outcome.rows += 1
        }
        outcome.computed += outcome.rows - (entry.tokens.count - entry.draftCount)
        state.count(drafted: entry.draftCount, accepted: row - first)
        totals.draftedTokens += UInt64(entry.draftCount)
        totals.acceptedTokens += UInt64(row - first)
        totals.generatedTokens += UInt64(scored.count)
        newTokens += scored.count
        if !scored.isEmpty { reports.append(EngineReport(id: entry.id, event: .tokens(scored))) }
    }

    /// Scores the prompt tokens that this entry's logits predict.
    private func scorePrompt(_ entry: StepEntry, _ logits: Tensor, _ state: inout ActiveRequest) {
        guard state.request.promptTopLogprobs != nil, !state.hasBegun else { return }
        let prompt = state.request.prompt
        if entry.start == 0, state.promptScores.isEmpty { state.scorePrompt(prompt[0]) }
        for offset in 0 ..< entry.tokens.count where entry.start + offset + 1 < prompt.count {
            // A preempted request reads its prompt again: what is scored stays.
            guard state.promptScores.count == entry.start + offset + 1 else { continue }
            state.scorePrompt(prompt[entry.start + offset + 1], from: logits.row(offset))
        }
    }

    private func begin(_ id: RequestID, _ state: inout ActiveRequest) {
        guard !state.hasBegun else { return }
        state.hasBegun = true
        state.count(cached: scheduler[id]?.cachedTokens ?? 0)
        reports.append(EngineReport(id: id, event: .began(promptScores: state.promptScores)))
    }

    /// Runs the MTP block over everything that is certain now, so that its latents are complete,
    /// and takes its guess where a next step can verify it.
    private func draft(_ results: [EntryResult]) throws -> [RequestID: Int] {
        var chunks: [SequenceChunk] = []
        var sources: [(hidden: Tensor, row: Int)] = []
        var wanting: [RequestID] = []
        for result in results {
            guard let hidden = result.hidden, let sequence = scheduler[result.entry.id] else {
                continue
            }
            let text = sequence.tokens + result.newTokens
            let start = result.entry.start
            // The token after the last certain position is not known while a prompt is cut there.
            let count = min(result.rows, text.count - 1 - start)
            guard count > 0 else { continue }
            let state = active[result.entry.id]
            let wants =
                result.entry.reachesEnd && result.failure == nil && state?.finish == nil
                && state?.mayDraft == true
            if wants { wanting.append(result.entry.id) }
            chunks.append(
                SequenceChunk(
                    tokens: Array(text[start + 1 ... start + count]), position: start,
                    blocks: result.entry.blocks, wanted: wants ? .last : .none))
            sources += (0 ..< count).map { (hidden, result.firstRow + $0) }
        }
        let rows = Tensor(rows: sources.count, columns: results.first?.hidden?.columns ?? 0)
        for (index, source) in sources.enumerated() {
            rows.view(rows: index ..< index + 1).copy(
                from: source.hidden.view(rows: source.row ..< source.row + 1))
        }
        let guess = try network.draft(chunks, hidden: rows)
        var drafts: [RequestID: Int] = [:]
        for (row, id) in wanting.enumerated() {
            drafts[id] = try Sampler.likeliest(guess.logits.row(row))
        }
        return drafts
    }

    /// Tells the scheduler how far a sequence got, and ends it if its text ended.
    private func settle(_ result: EntryResult, draft: Int?) {
        let id = result.entry.id
        guard let state = active[id] else { return }
        if let failure = result.failure { return end(id, .failed(failure)) }
        scheduler.advance(
            id, computed: result.computed, newTokens: result.newTokens,
            drafts: draft.map { [$0] } ?? [])
        if result.entry.reachesEnd, let reason = state.finish {
            end(id, .finished(reason, state.usage))
        }
    }

    private func end(_ id: RequestID, _ event: GenerationEvent) {
        active[id] = nil
        scheduler.remove(id)
        plan = nil
        reports.append(EngineReport(id: id, event: event))
    }

    private func count(_ entries: [StepEntry]) {
        totals.steps += 1
        for entry in entries where entry.draftCount == 0 && entry.tokens.count > 1 {
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
        now.preemptions = scheduler.preemptions
        return now
    }
}
