import Encoding
import Foundation
import NIOPosix
import Serving
import Synchronization
import Topology

/// A load on a job whose processes are killed and stopped meanwhile: every answer is compared with
/// the one that the job gave before.
public struct ChaosBenchmark: Sendable {
    /// The load and what is done to the job.
    public struct Configuration: Codable, Hashable, Sendable {
        /// The server.
        public var host = "127.0.0.1"
        /// Its port.
        public var port = 8080
        /// How long the job is disturbed.
        public var seconds = 60.0
        /// Requests under way at once.
        public var streams = 16
        /// Different requests; every second one draws its tokens by a seed.
        public var prompts = 32
        /// Tokens of each answer.
        public var tokens = 96
        /// Between two disturbances.
        public var interval = 5.0
        /// Whether ranks are killed.
        public var kills = true
        /// Whether ranks are stopped, until the job gave them up.
        public var pauses = false
        /// Whether links of ranks are cut, until the job gave a rank up.
        public var cuts = false
        /// Whether the coordinator is killed: its clients ask again what broke off.
        public var coordinator = false
        /// Whether some clients leave in the middle of their answers.
        public var disconnects = false
        /// The same seed disturbs the same ranks in the same order.
        public var seed: UInt64 = 0

        /// The defaults.
        public init() {}
    }

    /// A rank of the job, as a process of this machine.
    public struct Victim: Hashable, Sendable {
        /// The rank's number.
        public var rank: Int
        /// Its process.
        public var process: Int32

        /// Names a process.
        public init(rank: Int, process: Int32) {
            self.rank = rank
            self.process = process
        }
    }

    /// What the benchmark needs of the job's launcher.
    public struct Job: Sendable {
        /// The ranks that take part now.
        public var ranks: @Sendable () -> [Victim]
        /// The process of the coordinator; nil while there is none.
        public var coordinator: @Sendable () -> Int32?
        /// Sends a signal to a process.
        public var signal: @Sendable (_ process: Int32, _ signal: Int32) -> Void
        /// Cuts the links of a rank's node, or joins them again.
        public var cut: @Sendable (_ rank: Int, _ isCut: Bool) -> Void

        /// A job that is known by these.
        public init(
            ranks: @escaping @Sendable () -> [Victim],
            coordinator: @escaping @Sendable () -> Int32?,
            signal: @escaping @Sendable (_ process: Int32, _ signal: Int32) -> Void,
            cut: @escaping @Sendable (_ rank: Int, _ isCut: Bool) -> Void
        ) {
            self.ranks = ranks
            self.coordinator = coordinator
            self.signal = signal
            self.cut = cut
        }
    }

    let configuration: Configuration
    let job: Job
    let progress: @Sendable (String) -> Void

    /// Prepares a run.
    ///
    /// - Parameter progress: Takes each line of progress.
    public init(
        _ configuration: Configuration, job: Job, progress: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration
        self.job = job
        self.progress = progress
    }

    /// Asks everything once, then again and again while the job is disturbed.
    ///
    /// It ends early by the first answer that differs.
    ///
    /// - Throws: What keeps the undisturbed job from answering.
    public func run() async throws -> ChaosReport {
        let client = ChaosClient(configuration)
        let questions = try await client.questions()
        var report = ChaosReport(configuration)
        report.memoryBefore = job.ranks().map(\.process).reduce(0) {
            $0 + SystemFiles().residentBytes(of: "\($1)")
        }
        let begin = ContinuousClock.now
        let expected = try await client.answers(questions)
        report.undisturbedRate =
            Double(questions.count * configuration.tokens) / begin.duration(to: .now).seconds
        progress("\(questions.count) answers of the undisturbed job")
        let end = ContinuousClock.now + .seconds(configuration.seconds)
        let tally = SharedTally()
        let start = ContinuousClock.now
        report.events = await withTaskGroup(of: [ChaosReport.Event].self) { group in
            for stream in 0 ..< configuration.streams {
                group.addTask {
                    await ask(stream, questions, expected, client, until: end, tally)
                    return []
                }
            }
            group.addTask { await disturb(client, until: end, tally) }
            return await group.reduce(into: []) { $0 += $1 }
        }
        report.tally = tally.value.withLock { $0 }
        report.disturbedRate =
            Double(report.tally.tokens) / start.duration(to: .now).seconds
        report.memoryAfter = job.ranks().map(\.process).reduce(0) {
            $0 + SystemFiles().residentBytes(of: "\($1)")
        }
        return report
    }

    /// One stream of requests, one after another.
    private func ask(
        _ stream: Int, _ questions: [ChaosClient.Question], _ expected: [[UInt8]],
        _ client: ChaosClient, until end: ContinuousClock.Instant,
        _ tally: SharedTally
    ) async {
        var random = SplitMix64(seed: configuration.seed &+ UInt64(stream) &+ 1)
        var number = stream
        while ContinuousClock.now < end, tally.value.withLock({ $0.wrong == nil }) {
            let index = number % questions.count
            number += configuration.streams + 1
            let leaves = configuration.disconnects && random.next() % 4 == 0
            let leaving = leaves ? Int(random.next() % UInt64(configuration.tokens)) : nil
            let limit = ContinuousClock.now + Self.askingLimit
            while true {
                let answer = await client.answer(questions[index], leavingAfter: leaving)
                let asksAgain =
                    answer.failure != nil && configuration.coordinator && .now < limit
                tally.value.withLock {
                    $0.add(
                        answer, expected: expected[index], question: index, asksAgain: asksAgain)
                }
                guard answer.failure != nil else { break }
                // A server that is gone refuses at once.
                do { try await Task.sleep(for: .milliseconds(100)) } catch { return }
                guard asksAgain else { break }
            }
        }
    }

    /// For a request that broke off with its coordinator to be answered after all.
    private static let askingLimit = Duration.seconds(60)

    /// Disturbs one process after another.
    private func disturb(
        _ client: ChaosClient, until end: ContinuousClock.Instant,
        _ tally: SharedTally
    ) async -> [ChaosReport.Event] {
        var random = SplitMix64(seed: configuration.seed)
        var events: [ChaosReport.Event] = []
        var next = ContinuousClock.now + .seconds(configuration.interval)
        let kinds =
            (configuration.kills ? [ChaosReport.Event.Kind.kill] : [])
            + (configuration.pauses ? [.pause] : []) + (configuration.cuts ? [.cut] : [])
            + (configuration.coordinator ? [.coordinator] : [])
        while next < end, !kinds.isEmpty, tally.value.withLock({ $0.wrong == nil }) {
            do { try await Task.sleep(until: next) } catch { return events }
            await client.settle(until: end)
            guard ContinuousClock.now < end else { break }
            next = max(next, .now) + .seconds(configuration.interval)
            let kind = kinds[events.count % kinds.count]
            guard let victim = victim(of: kind, &random) else { continue }
            var event = ChaosReport.Event(kind: kind, rank: victim.rank)
            let lost = await client.health().lost
            start(kind, victim)
            await client.watch(&event, before: lost, until: .now + .seconds(30))
            undo(kind, victim)
            progress(event.line)
            events.append(event)
        }
        return events
    }

    private func start(_ kind: ChaosReport.Event.Kind, _ victim: (rank: Int?, process: Int32)) {
        switch kind {
        case .kill, .coordinator: job.signal(victim.process, SIGKILL)
        case .pause: job.signal(victim.process, SIGSTOP)
        case .cut: if let rank = victim.rank { job.cut(rank, true) }
        }
    }

    /// Ends what would last.
    private func undo(_ kind: ChaosReport.Event.Kind, _ victim: (rank: Int?, process: Int32)) {
        switch kind {
        case .kill, .coordinator: break
        case .pause: job.signal(victim.process, SIGCONT)
        case .cut: if let rank = victim.rank { job.cut(rank, false) }
        }
    }

    /// The process that is disturbed next; nil where none may be.
    private func victim(
        of kind: ChaosReport.Event.Kind, _ random: inout SplitMix64
    ) -> (rank: Int?, process: Int32)? {
        if kind == .coordinator { return job.coordinator().map { (nil, $0) } }
        let ranks = job.ranks().sorted { $0.rank < $1.rank }
        // The last rank cannot be survived.
        guard ranks.count > 1 else { return nil }
        let victim = ranks[Int(random.next() % UInt64(ranks.count))]
        return (victim.rank, victim.process)
    }
}

/// What became of the requests so far, for the tasks that ask.
private final class SharedTally: Sendable {
    let value = Mutex(ChaosReport.Tally())
}
