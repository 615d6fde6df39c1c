import Foundation
public import Grammar
public import Language
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
        case cancel(RequestID)
    }

    private struct State {
        var commands: [Command] = []
        var isStopping = false
        var statistics = EngineStatistics()
        var lastStep: ContinuousClock.Instant?
    }

    private let barrier: StepBarrier
    /// Where the experts are, and which ranks take part in a step.
    private let map: ExpertMap
    private let configuration: EngineConfiguration
    private let state = Mutex(State())

    /// The longest that an idle rank sleeps before it checks again.
    private static let idlePatience = Duration.seconds(60)

    /// Prepares an engine.
    ///
    /// `run` starts it.
    ///
    /// - Parameter map: That of the network's experts.
    public init(barrier: StepBarrier, map: ExpertMap, configuration: EngineConfiguration) {
        self.barrier = barrier
        self.map = map
        self.configuration = configuration
    }

    /// Takes a request.
    ///
    /// It is answered through `report`, also if it is refused.
    public func submit(_ request: GenerationRequest) { give(.submit(request)) }

    /// Withdraws a request, from the next step on.
    public func cancel(_ id: RequestID) { give(.cancel(id)) }

    /// Ends `run` when the step under way is done.
    ///
    /// Requests under way fail.
    public func stop() {
        state.withLock { $0.isStopping = true }
        barrier.wake()
    }

    /// What this engine has done and holds.
    public var statistics: EngineStatistics {
        state.withLock { state in
            var now = state.statistics
            now.rank = barrier.rank.rawValue
            now.secondsSinceStep = state.lastStep.map { ($0.duration(to: .now)).seconds }
            return now
        }
    }

    private func give(_ command: Command) {
        state.withLock { $0.commands.append(command) }
        barrier.wake()
    }

    /// Performs steps until `stop`.
    ///
    /// Belongs on a thread of its own, which also uses the network.
    ///
    /// - Parameters:
    ///   - tokenizer: Gives the bytes of each token, for constrained texts; nil allows none.
    ///   - grammars: What was compiled in this process already.
    ///   - report: What happened, after each step.
    /// - Throws: `TransportError` naming the rank that was lost. All requests have failed by then.
    public func run(
        _ network: any SequenceNetwork, tokenizer: Tokenizer?,
        grammars: CompiledGrammars = CompiledGrammars(),
        report: @Sendable ([EngineReport]) -> Void
    ) throws {
        let vocabulary = LazyVocabulary(tokenizer, endTokens: network.endTokens)
        let core = BatchingEngine(
            network, configuration: configuration, compiled: grammars,
            vocabulary: { vocabulary.value })
        publish(core, StepTime())
        // Every step makes its logits anew: mapped and cleared each time, they are 3% of a step.
        Tensor.recycleMemory()
        do {
            while try turn(
                core, report: report,
                compile: { [self] request, constraint in
                    grammars.compile(constraint) { result in
                        // The tree, too, is made before the engine's thread needs it.
                        _ = vocabulary.value
                        self.give(.compiled(request, result))
                    }
                })
            {}
        } catch {
            core.failAll(.rankLost(message: "\(error)"))
            report(core.takeReports())
            throw error
        }
        core.failAll(.draining)
        report(core.takeReports())
    }

    /// One turn of the loop: take commands, then a step or sleep.
    ///
    /// - Parameter compile: Has a constraint compiled on another thread.
    private func turn(
        _ core: BatchingEngine, report: ([EngineReport]) -> Void,
        compile: (GenerationRequest, OutputConstraint) -> Void
    ) throws -> Bool {
        let (commands, isStopping) = state.withLock { state in
            defer { state.commands = [] }
            return (state.commands, state.isStopping)
        }
        for command in commands {
            switch command {
            case .submit(let request):
                if let constraint = request.constraint {
                    core.expect(request.id)
                    compile(request, constraint)
                } else {
                    core.submit(request)
                }
            case .compiled(let request, let result): core.submit(request, result)
            case .cancel(let id): core.cancel(id)
            }
        }
        if isStopping { return false }
        let next = core.prepare()
        if case .step(let plan) = next {
            try step(core, plan)
        } else if barrier.othersHaveBegun(in: map) {
            try step(core, StepPlan())
        } else {
            send(core, report)
            publish(core, nil)
            let isQuiet = state.withLock { $0.commands.isEmpty && !$0.isStopping }
            if isQuiet, next == .idle { try barrier.sleep(atMost: Self.idlePatience, in: map) }
            return true
        }
        send(core, report)
        return true
    }

    private func step(_ core: BatchingEngine, _ plan: StepPlan) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let agreed = try barrier.begin(plan.request, in: map)
        let begun = clock.now
        let newTokens = try core.step(plan, agreed)
        var time = core.network.takeTime()
        time.stepWait = start.duration(to: begun).seconds
        time.total = start.duration(to: clock.now).seconds
        core.note(plan, agreed, time, newTokens: newTokens)
        publish(core, time)
    }

    private func send(_ core: BatchingEngine, _ report: ([EngineReport]) -> Void) {
        let reports = core.takeReports()
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
