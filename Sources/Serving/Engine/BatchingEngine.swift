import Grammar
import Models
import Topology

/// One rank's engine without its thread: requests and steps in, reports out.
///
/// A step is `prepare`, then `step` with what the ranks agreed on, then `note` with the time it
/// took; the plan of the step travels between them as a value.
///
/// 1. Every request that was taken ends with exactly one `finished` or `failed`, unless all are
///    dropped.
final class BatchingEngine {
    let configuration: EngineConfiguration
    let network: any SequenceNetwork
    private let vocabulary: () -> ConstraintVocabulary?
    private let compiled: CompiledGrammars
    let kept: KeptPrefixes?
    private let grammars = GrammarCache()
    /// Requests for which another thread compiles a constraint or reads blocks.
    private var expected: Set<RequestID> = []
    var scheduler: Scheduler
    var active: [RequestID: ActiveRequest] = [:]
    var totals = EngineStatistics()
    private(set) var reports: [EngineReport] = []
    private(set) var overlapping: OverlapTuner
    private(set) var drafting = DraftTuner()
    private(set) var sharing = SharingTuner()
    private let recorder: RankRecorder
    /// Prompts that are computed, or are to be, by another rank than their text's.
    let handovers: HandoverStation?
    /// Prompts that this rank computes for others.
    var orders: [RequestID: PrefillOrder] = [:]
    /// Those whose blocks another thread reads first.
    var awaitedOrders: [RequestID: PrefillOrder] = [:]

    init(
        _ network: any SequenceNetwork, configuration: EngineConfiguration,
        handovers: HandoverStation? = nil, compiled: CompiledGrammars = CompiledGrammars(),
        recorder: RankRecorder = RankRecorder(),
        vocabulary: @escaping () -> ConstraintVocabulary? = { nil }, kept: KeptPrefixes? = nil
    ) {
        self.network = network
        self.configuration = configuration
        self.vocabulary = vocabulary
        self.compiled = compiled
        self.kept = kept
        self.recorder = recorder
        self.handovers = handovers
        overlapping = OverlapTuner(threshold: configuration.overlapThreshold)
        scheduler = Scheduler(
            limits: Scheduler.Limits(
                running: min(configuration.runningLimit, configuration.stepTokens),
                waiting: configuration.waitingLimit, stepTokens: configuration.stepTokens,
                promptTokensBesideStreams: configuration.promptTokensBesideStreams,
                handoverTokens: configuration.handoverTokens),
            blockCount: network.blockCount, blockTokens: network.blockTokens,
            usesPrefixCache: configuration.usesPrefixCache, origin: kept?.origin)
    }

    // MARK: Requests

    /// Takes a request for which another thread does something; a `submit` of it follows, unless
    /// the request is cancelled first.
    func expect(_ id: RequestID) { expected.insert(id) }

    /// Whether a request is still waited for.
    func isExpected(_ id: RequestID) -> Bool { expected.contains(id) }

    /// Takes an expected request that has no constraint.
    func submitExpected(_ request: GenerationRequest) {
        if expected.remove(request.id) != nil { submit(request) }
    }

    /// Takes an expected request with its compiled constraint, or with what is wrong with that.
    func submit(_ request: GenerationRequest, _ result: Result<CompiledConstraint, GrammarError>) {
        guard expected.remove(request.id) != nil else { return }
        switch result {
        case .success(let constraint): submit(request, constraint: constraint)
        case .failure(let error): report(request.id, .failed(ServingError(error)))
        }
    }

    /// Takes a request.
    ///
    /// What is wrong with it is reported as its failure.
    ///
    /// - Parameter constraint: Its constraint; one that is not given is compiled here.
    func submit(_ request: GenerationRequest, constraint: CompiledConstraint? = nil) {
        do throws(ServingError) {
            try request.check(for: network)
            var constraint = constraint
            if constraint == nil, let wanted = request.constraint {
                constraint = try ServingError.constraining { () throws(GrammarError) in
                    try compiled.compiled(wanted)
                }
            }
            let state = try ActiveRequest(
                request, constraint: constraint, grammars: grammars, vocabulary: vocabulary)
            if let told = request.resumption, told.hasBegun, let reason = state.finish {
                // All of it was told; only its end was not.
                return report(request.id, .finished(reason, state.usage))
            }
            try scheduler.submit(request)
            active[request.id] = state
        } catch {
            report(request.id, .failed(error))
        }
    }

    /// Withdraws a request.
    func cancel(_ id: RequestID) {
        if expected.remove(id) != nil {
            return report(id, .finished(.cancelled, GenerationUsage()))
        }
        awaitedOrders[id] = nil
        if orders[id] != nil { return letGo(id) }
        guard let state = active[id] else { return }
        end(id, .finished(.cancelled, state.usage))
    }

    /// Ends every request with an error.
    func failAll(_ error: ServingError) {
        for order in awaitedOrders.values.sorted(by: { $0.attempt < $1.attempt }) {
            refuse(order, "\(error)")
        }
        awaitedOrders = [:]
        for id in orders.keys.sorted() { fail(order: id, "\(error)") }
        for id in active.keys.sorted() { end(id, .failed(error)) }
        for id in expected.sorted() { report(id, .failed(error)) }
        expected = []
    }

    /// Forgets every request, and what was to be said of it.
    func dropAll() {
        handovers?.dropAll()
        for id in active.keys { scheduler.remove(id) }
        active = [:]
        orders = [:]
        awaitedOrders = [:]
        expected = []
        reports = []
    }

    /// Takes what was reported since the last call.
    func takeReports() -> [EngineReport] {
        defer { reports = [] }
        return reports
    }

    func report(_ id: RequestID, _ event: GenerationEvent) {
        // Of a prompt for another rank, that one reports.
        guard orders[id] == nil else { return }
        reports.append(EngineReport(id: id, event: event))
    }

    func end(_ id: RequestID, _ event: GenerationEvent) {
        handovers?.inbox.drop(id)
        active[id] = nil
        scheduler.remove(id)
        report(id, event)
    }

    // MARK: Steps

    /// Decides what the next step computes, if there is anything to compute.
    func prepare() -> NextStep {
        keepFullBlocks()
        let planned = scheduler.plan()
        let gaveUp = arrangeHandovers()
        // What was given up has no blocks any more.
        var plan = StepPlan(entries: constrain(planned.filter { active[$0.id] != nil }))
        guard !plan.entries.isEmpty else {
            return planned.isEmpty && !gaveUp ? .idle : .planAgain
        }
        if configuration.overlaps, network.sharesExperts,
            overlapping.splits(tokens: plan.tokenCount, step: totals.steps)
        {
            plan.request.insert(.overlap)
        }
        let shares = sharing.shares(tokens: plan.tokenCount, step: totals.steps)
        plan.request.formUnion(.rows(of: plan, limit: shares ? network.sharedRows : 0))
        plan.drafts = canDraft(plan.entries)
        if plan.drafts, !network.draftsAlone { plan.request.insert(.draft) }
        return .step(plan)
    }

    /// Performs one step together with the other ranks.
    ///
    /// - Parameters:
    ///   - agreed: What the ranks together want of the step.
    ///   - leader: The rank whose tokens all ranks of this node compute together.
    /// - Returns: How many tokens this rank generated.
    func step(
        _ plan: StepPlan, _ agreed: StepRequest, leader: Rank? = nil
    ) throws -> Int {
        let keepsHidden = plan.drafts || agreed.contains(.draft)
        var results: [EntryResult] = []
        let begun: UInt64
        if agreed.contains(.overlap) {
            let (first, second) = StepEntry.halves(of: plan.entries)
            let (a, b) = try network.forward(
                chunks(first), chunks(second), keepsHidden: keepsHidden)
            begun = recorder.now
            results = choose(first, a) + choose(second, b)
        } else {
            let result = try network.forward(
                chunks(plan.entries), keepsHidden: keepsHidden, leader: leader)
            begun = recorder.now
            results = choose(plan.entries, result)
        }
        let chosen = recorder.now
        recorder.add(RankEvent(kind: .sampling, began: begun, ended: max(begun, chosen)))
        var drafts: [RequestID: Int] = [:]
        // Tokens that were chosen are reported, so they count even if the drafts are lost.
        defer { for result in results { settle(result, draft: drafts[result.entry.id]) } }
        if keepsHidden {
            drafts = try draft(results)
            recorder.span(.draft, since: chosen)
        }
        count(plan)
        return results.reduce(0) { $0 + $1.newTokens.count }
    }

    /// Learns how long a step took, with micro-batches or without, with drafts or without, with the
    /// node or alone.
    func note(_ plan: StepPlan, _ agreement: StepAgreement, _ time: StepTime, newTokens: Int) {
        let agreed = agreement.request
        let seconds = time.total - time.stepWait
        if agreement.isAlone, plan.tokenCount <= network.sharedRows, !agreed.contains(.overlap) {
            sharing.note(
                tokens: plan.tokenCount, seconds: seconds, wasShared: agreement.leader != nil)
        }
        overlapping.note(
            tokens: plan.tokenCount, seconds: seconds, exposed: time.exposed - time.skew,
            wasSplit: agreed.contains(.overlap))
        drafting.note(
            streams: plan.streamCount, seconds: seconds, tokens: newTokens,
            drafted: plan.drafts || agreed.contains(.draft))
    }

    /// Records in the scheduler how far a sequence got, and ends it if its text ended.
    private func settle(_ result: EntryResult, draft: Int?) {
        let id = result.entry.id
        guard let state = active[id] else { return }
        if let failure = result.failure {
            if orders[id] != nil { return fail(order: id, "\(failure)") }
            return end(id, .failed(failure))
        }
        scheduler.advance(
            id, computed: result.computed, newTokens: result.newTokens,
            drafts: draft.map { [$0] } ?? [])
        if orders[id] != nil { return handOver(id) }
        if result.entry.reachesEnd, let reason = state.finish {
            end(id, .finished(reason, state.usage))
        }
    }
}
