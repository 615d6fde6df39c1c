import Foundation
import Grammar
public import Language
import Synchronization
import Tensors
import Topology

/// Generates texts on one rank: a loop on a thread of its own that performs numbered steps with all
/// other ranks.
///
/// Requests and cancellations come in from any thread; what becomes of them goes out through
/// `report`, once per step, on the engine's thread.
public final class Engine: Sendable {
    /// What comes in from other threads.
    private enum Command: Sendable {
        case submit(GenerationRequest)
        case cancel(RequestID)
    }

    private struct State {
        var commands: [Command] = []
        var isStopping = false
        var statistics = EngineStatistics()
        var lastStep: ContinuousClock.Instant?
    }

    private let barrier: StepBarrier
    private let configuration: EngineConfiguration
    private let state = Mutex(State())

    /// The longest an idle rank sleeps before it looks around.
    private static let idlePatience = Duration.seconds(60)

    /// Prepares an engine.
    ///
    /// `run` starts it.
    public init(barrier: StepBarrier, configuration: EngineConfiguration) {
        self.barrier = barrier
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
    ///   - vocabulary: The bytes of each token, for constrained texts; asked for at most once.
    ///   - report: What happened, after each step.
    /// - Throws: `TransportError` naming the rank that was lost. All requests have failed by then.
    public func run(
        _ network: any SequenceNetwork, tokenizer: Tokenizer?,
        report: @Sendable ([EngineReport]) -> Void
    ) throws {
        let lazyVocabulary = LazyVocabulary(tokenizer, endTokens: network.endTokens)
        let core = BatchingEngine(
            network, configuration: configuration, vocabulary: { lazyVocabulary.value })
        publish(core, StepTime())
        // Every step makes its logits anew: mapped and cleared each time, they are 3% of a step.
        Tensor.recycleMemory()
        do {
            while try turn(core, report: report) {}
        } catch {
            core.failAll(.unavailable(message: "\(error)"))
            report(core.takeReports())
            throw error
        }
        core.failAll(.draining)
        report(core.takeReports())
    }

    /// One turn of the loop: take commands, then a step or sleep.
    private func turn(_ core: BatchingEngine, report: ([EngineReport]) -> Void) throws -> Bool {
        let (commands, isStopping) = state.withLock { state in
            defer { state.commands = [] }
            return (state.commands, state.isStopping)
        }
        for command in commands {
            switch command {
            case .submit(let request): core.submit(request)
            case .cancel(let id): core.cancel(id)
            }
        }
        if isStopping { return false }
        if let request = core.prepare() {
            try step(core, request)
        } else if barrier.othersHaveBegun {
            try step(core, [])
        } else {
            send(core, report)
            publish(core, nil)
            let isQuiet = state.withLock { $0.commands.isEmpty && !$0.isStopping }
            if isQuiet, !core.mustPlanAgain { try barrier.sleep(atMost: Self.idlePatience) }
            return true
        }
        send(core, report)
        return true
    }

    private func step(_ core: BatchingEngine, _ request: StepRequest) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let agreed = try barrier.begin(request)
        let begun = clock.now
        try core.step(agreed)
        var time = core.network.takeTime()
        time.stepWait = start.duration(to: begun).seconds
        time.total = start.duration(to: clock.now).seconds
        core.note(time, agreed)
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

extension StepTime {
    /// Adds another step's times.
    mutating func add(_ other: StepTime) {
        total += other.total
        dispatch += other.dispatch
        combine += other.combine
        travel += other.travel
        exposed += other.exposed
        skew += other.skew
        expertCompute += other.expertCompute
        stepWait += other.stepWait
        sampling += other.sampling
    }
}

/// Builds the vocabulary tree when the first constrained text needs it.
private final class LazyVocabulary {
    private let tokenizer: Tokenizer?
    private let endTokens: [Int]
    private(set) lazy var value: ConstraintVocabulary? = tokenizer.map { tokenizer in
        ConstraintVocabulary(
            bytes: (0 ..< tokenizer.vocabularySize).map {
                tokenizer.isSpecial($0) ? [] : Array(tokenizer.bytes(of: $0))
            }, endTokens: endTokens)
    }

    init(_ tokenizer: Tokenizer?, endTokens: [Int]) {
        self.tokenizer = tokenizer
        self.endTokens = endTokens
    }
}
