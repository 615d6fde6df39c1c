import Foundation
import Grammar
import Language
import Synchronization
import Tensors
public import Topology

/// Generates texts on one rank: a loop on a thread of its own that performs numbered steps with all
/// other ranks.
///
/// Requests and cancellations come in from any thread; what becomes of them goes out through
/// `report`, once per step, on the engine's thread.
public final class Engine: Sendable {
    /// What comes in from other threads.
    private enum Command: Sendable {
        case submit(GenerationRequest)
        case compiled(GenerationRequest, Result<CompiledConstraint, GrammarError>)
        case restored(GenerationRequest, [PrefixStore.Block]?, since: ContinuousClock.Instant)
        case restoredPrompt(PrefillOrder, [PrefixStore.Block]?, since: ContinuousClock.Instant)
        case cancel(RequestID)
        case handover(HandoverEvent)
        case dropAll
    }

    private struct State {
        var commands: [Command] = []
        var isStopping = false
        /// Epochs below this one are over.
        var firstEpoch: UInt64 = 0
        var epoch: EngineEpoch

        var isInterrupted: Bool { epoch.map.epoch < firstEpoch }
        var statistics = EngineStatistics()
        var lastStep: ContinuousClock.Instant?
    }

    /// What the engine did lately.
    public let recorder: RankRecorder
    private let configuration: EngineConfiguration
    /// Prompts that go from rank to rank; nil where every rank computes its own.
    let handovers: HandoverStation?
    private let state: Mutex<State>

    /// The longest that an idle rank sleeps before it checks again.
    private static let idlePatience = Duration.seconds(60)
    /// The longest that an engine which ends waits for its blocks to be written.
    private static let flushLimit = Duration.seconds(3)
    /// The same where requests wait for entries that may not come.
    private static let handoverPatience = Duration.milliseconds(100)

    /// Prepares an engine.
    ///
    /// `run` starts it.
    ///
    /// - Parameter map: That of the network's experts.
    public convenience init(
        barrier: StepBarrier, map: ExpertMap, configuration: EngineConfiguration
    ) { self.init(EngineEpoch(barrier: barrier, map: map), configuration, handovers: nil) }

    init(
        _ epoch: EngineEpoch, _ configuration: EngineConfiguration, handovers: HandoverStation?
    ) {
        self.configuration = configuration
        self.handovers = handovers
        recorder = RankRecorder(clock: epoch.barrier.clock)
        state = Mutex(State(epoch: epoch))
        handovers?.open { [weak self] in self?.give(.handover($0)) }
    }

    /// Takes a request.
    ///
    /// It is answered through `report`, also if it is refused.
    public func submit(_ request: GenerationRequest) { give(.submit(request)) }

    /// Withdraws a request, from the next step on.
    public func cancel(_ id: RequestID) { give(.cancel(id)) }

    /// Forgets every request that was submitted before, from the next step on, without a report:
    /// whoever asked is gone.
    ///
    /// Other ranks need not do it in the same step: a rank without requests takes part in theirs.
    func dropAll() { give(.dropAll) }

    /// Ends `run` when the step under way is done.
    ///
    /// Requests under way fail.
    public func stop() {
        state.withLock { state in
            state.isStopping = true
            return state.epoch.barrier
        }.wake()
    }

    /// Ends every epoch before the stated one: `run` asks for the next before it begins another
    /// step.
    public func interrupt(before epoch: UInt64) {
        state.withLock { state in
            state.firstEpoch = max(state.firstEpoch, epoch)
            return state.epoch.barrier
        }.wake()
    }

    /// What this engine has done and holds.
    public var statistics: EngineStatistics {
        state.withLock { state in
            var now = state.statistics
            now.rank = state.epoch.barrier.rank.rawValue
            now.handovers = handovers?.totals
            now.sent = recorder.sent
            now.secondsSinceStep = state.lastStep.map { ($0.duration(to: .now)).seconds }
            return now
        }
    }

    private func give(_ command: Command) {
        state.withLock { state in
            state.commands.append(command)
            return state.epoch.barrier
        }.wake()
    }

    /// Performs steps until `stop`.
    ///
    /// Belongs on a thread of its own, which also uses the network.
    ///
    /// - Parameters:
    ///   - tokenizer: Gives the bytes of each token, for constrained texts; nil allows none.
    ///   - grammars: What was compiled in this process already.
    ///   - kept: Blocks that outlive the process; nil keeps none.
    ///   - report: What happened, after each step.
    ///   - recover: Gives the next epoch after an error or an `interrupt` (nil) ended the one under
    ///     way; no text changes, since a step that was abandoned is performed again. It throws if
    ///     nothing can go on; by default it does.
    /// - Throws: `TransportError` naming the rank that was lost. All requests have failed by then.
    func run(
        _ network: any SequenceNetwork, tokenizer: Tokenizer?,
        grammars: CompiledGrammars = CompiledGrammars(), kept: KeptPrefixes? = nil,
        report: @Sendable ([EngineReport]) -> Void,
        recover: ((any Error)?) throws -> EngineEpoch = { throw $0 ?? ServingError.draining }
    ) throws {
        let vocabulary = LazyVocabulary(tokenizer, endTokens: network.endTokens)
        let core = BatchingEngine(
            network, configuration: configuration, handovers: handovers, compiled: grammars,
            recorder: recorder, vocabulary: { vocabulary.value }, kept: kept)
        defer {
            handovers?.close()
            core.keepFullBlocks()
            kept?.store.flush(atMost: Self.flushLimit)
        }
        publish(core, StepTime())
        network.record(to: recorder)
        // Every step makes its logits anew: mapped and cleared each time, they are 3% of a step.
        Tensor.recycleMemory()
        let compile = { [self] (request: GenerationRequest, constraint: OutputConstraint) in
            grammars.compile(constraint) { result in
                // The tree, too, is made before the engine's thread needs it.
                _ = vocabulary.value
                self.give(.compiled(request, result))
            }
        }
        do {
            while let ending = try turns(core, report: report, compile: compile) {
                let next = try recover(ending.error)
                state.withLock { $0.epoch = next }
                recorder.mark(.epoch, number: next.map.epoch)
                network.record(to: recorder)
            }
        } catch {
            core.failAll(.rankLost(message: "\(error)"))
            report(core.takeReports())
            throw error
        }
        core.failAll(.draining)
        report(core.takeReports())
    }

    /// Why an epoch ended: an error of a step, or none.
    private struct EpochEnd {
        let error: (any Error)?
    }

    /// The turns of one epoch.
    ///
    /// - Returns: Why the epoch ended; nil once the engine stops.
    private func turns(
        _ core: BatchingEngine, report: ([EngineReport]) -> Void,
        compile: (GenerationRequest, OutputConstraint) -> Void
    ) throws -> EpochEnd? {
        let epoch = state.withLock { $0.epoch }
        do {
            repeat {
                if state.withLock({ $0.isInterrupted }) { return EpochEnd(error: nil) }
            } while try turn(core, in: epoch, report: report, compile: compile)
        } catch {
            // What the step did report belongs to its requests.
            recorder.noteFailure(error)
            send(core, report)
            if state.withLock({ $0.isStopping }) { return nil }
            return EpochEnd(error: error)
        }
        return nil
    }

    /// One turn of the loop: take commands, then a step or sleep.
    ///
    /// - Parameter compile: Has a constraint compiled on another thread.
    private func turn(
        _ core: BatchingEngine, in epoch: EngineEpoch, report: ([EngineReport]) -> Void,
        compile: (GenerationRequest, OutputConstraint) -> Void
    ) throws -> Bool {
        let (barrier, map) = (epoch.barrier, epoch.map)
        let (commands, isStopping) = state.withLock { state in
            defer { state.commands = [] }
            return (state.commands, state.isStopping)
        }
        for command in commands {
            switch command {
            case .submit(let request):
                recorder.mark(.admitted, number: request.id.rawValue)
                restore(request, since: .now, into: core, compile: compile)
            case .restored(let request, let blocks?, _):
                if core.resume(request, with: blocks) {
                    take(request, into: core, compile: compile)
                }
            case .restored(let request, nil, let begin):
                if core.isExpected(request.id) {
                    restore(request, since: begin, into: core, compile: compile)
                }
            case .compiled(let request, let result): core.submit(request, result)
            case .restoredPrompt(let order, let blocks?, _): core.resume(order, with: blocks)
            case .restoredPrompt(let order, nil, let begin):
                if core.isAwaited(order) { restore(order, since: begin, into: core) }
            case .cancel(let id): core.cancel(id)
            case .handover(.prefill(let order)): restore(order, since: .now, into: core)
            case .handover(let event): core.take(event)
            case .dropAll: core.dropAll()
            }
        }
        if isStopping { return false }
        let next = core.prepare()
        if case .step(let plan) = next {
            try step(core, plan, in: epoch)
        } else if barrier.othersHaveBegun(in: map) {
            try step(core, StepPlan(), in: epoch)
        } else {
            send(core, report)
            publish(core, nil)
            let isQuiet = state.withLock {
                $0.commands.isEmpty && !$0.isStopping && !$0.isInterrupted
            }
            if isQuiet, next == .idle {
                let patience = core.awaitsEntries ? Self.handoverPatience : Self.idlePatience
                try barrier.sleep(atMost: patience, in: map)
            }
            return true
        }
        send(core, report)
        return true
    }

    /// Takes a request once the blocks that files have of it are in the cache.
    private func restore(
        _ request: GenerationRequest, since begin: ContinuousClock.Instant,
        into core: BatchingEngine,
        compile: (GenerationRequest, OutputConstraint) -> Void
    ) {
        let isAwaited = core.restore(request, since: begin) { [self] in
            give(.restored(request, $0, since: begin))
        }
        if !isAwaited { take(request, into: core, compile: compile) }
    }

    /// Takes a prompt for another rank once the blocks that files have of it are in the cache.
    private func restore(
        _ order: PrefillOrder, since begin: ContinuousClock.Instant, into core: BatchingEngine
    ) {
        let isAwaited = core.restore(order, since: begin) { [self] in
            give(.restoredPrompt(order, $0, since: begin))
        }
        if !isAwaited { core.resume(unread: order) }
    }

    /// Takes a request whose blocks are in the cache, as far as there are any.
    private func take(
        _ request: GenerationRequest, into core: BatchingEngine,
        compile: (GenerationRequest, OutputConstraint) -> Void
    ) {
        core.expect(request.id)
        if let constraint = request.constraint {
            compile(request, constraint)
        } else {
            core.submitExpected(request)
        }
    }

    private func step(
        _ core: BatchingEngine, _ plan: StepPlan, in epoch: EngineEpoch
    ) throws {
        let began = recorder.now
        recorder.begin(step: epoch.barrier.nextStep(in: epoch.map), rows: plan.tokenCount)
        let agreement = try epoch.barrier.begin(plan.request, in: epoch.map)
        let agreed = agreement.request
        recorder.span(.wait, since: began)
        let begun = recorder.now
        let newTokens = try core.step(plan, agreed, leader: agreement.leader)
        if let network = core.network as? any TrafficCounting {
            recorder.count(network.takeTraffic())
        }
        var time = core.network.takeTime()
        time.stepWait = Double(begun - began) * 1e-9
        time.total = Double(max(begun, recorder.now) - began) * 1e-9
        core.note(plan, agreement, time, newTokens: newTokens)
        publish(core, time)
        record(plan, agreed, since: began, newTokens: newTokens)
    }

    /// Records a step that ends now.
    private func record(
        _ plan: StepPlan, _ agreed: StepRequest, since began: UInt64, newTokens: Int
    ) {
        let now = max(began, recorder.now)
        recorder.add(
            RankEvent(
                kind: .step, began: began, ended: now, number: UInt64(newTokens),
                rows: plan.tokenCount, parts: agreed.contains(.overlap) ? 2 : 1))
        let (running, waiting) = state.withLock {
            ($0.statistics.running, $0.statistics.waiting)
        }
        recorder.add(
            RankEvent(
                kind: .queue, began: now, ended: now, number: UInt64(waiting), rows: running))
    }

    private func send(_ core: BatchingEngine, _ report: ([EngineReport]) -> Void) {
        let reports = core.takeReports()
        for ended in reports where ended.event.isLast {
            recorder.mark(.finished, number: ended.id.rawValue)
        }
        if !reports.isEmpty { report(reports) }
    }

    private func publish(_ core: BatchingEngine, _ time: StepTime?) {
        let statistics = core.statistics
        state.withLock { state in
            var sum = state.statistics.time
            state.statistics = statistics
            if let time {
                sum.add(time)
                if time.total > 0 { state.lastStep = .now }
            }
            state.statistics.time = sum
        }
    }
}
