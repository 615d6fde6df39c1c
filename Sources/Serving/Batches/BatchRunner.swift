import Synchronization

/// Runs the batches of a folder, each in a task of its own, while its server runs.
///
/// 1. No batch keeps a turn from another one while it waits for its key.
final class BatchRunner: Sendable {
    private struct State {
        var tasks: [String: Task<Void, Never>] = [:]
        var isRunning = false
    }

    /// Batches that are performed at once; the others wait in their order.
    private static let runLimit = 8
    /// Before a batch that gave its turn away checks its key again: what it wrote is read anew.
    private static let pause = Duration.seconds(60)

    let folder: BatchFolder
    private let runs = BatchSlots(runLimit)
    private let slots: BatchSlots
    /// Lines in memory: twice the slots, so that some may wait for their key without one.
    private let held: BatchSlots
    /// Where batches wait for the disk, behind everything that computes.
    private let lane = WorkLane("apus-batches", niceness: 10)
    private let state = Mutex(State())

    init(_ folder: BatchFolder, limits: ServiceLimits) {
        self.folder = folder
        slots = BatchSlots(limits.batchTexts)
        held = BatchSlots(2 * limits.batchTexts)
    }

    /// Goes on with what an earlier server left, and runs until it is cancelled.
    func run(_ service: OpenAIService) async {
        state.withLock { $0.isRunning = true }
        for batch in folder.openBatches { start(batch.id, service) }
        // Ends with the cancellation alone.
        let (never, continuation) = AsyncStream<Never>.makeStream()
        for await _ in never {}
        continuation.finish()
        let tasks = state.withLock { state in
            state.isRunning = false
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// Starts a batch; one that comes while the server goes down is left to the next server.
    func start(_ id: String, _ service: OpenAIService) {
        let run = BatchRun(
            id: id, service: service, folder: folder, turns: runs, slots: slots, held: held,
            lane: lane)
        state.withLock { state in
            guard state.isRunning, state.tasks[id] == nil else { return }
            state.tasks[id] = Task {
                await perform(run)
                self.state.withLock { $0.tasks[id] = nil }
            }
        }
    }

    private func perform(_ run: BatchRun) async {
        do {
            var turn = try await runs.take()
            while await run.perform() {
                turn.give()
                try await run.waitForKey(after: Self.pause)
                turn = try await runs.take()
            }
            turn.give()
        } catch {
            // One that is to be cancelled ends without a turn; else the server goes down.
            if folder.batch(run.id)?.state == .cancelling { _ = await run.perform() }
        }
    }

    /// Ends a batch: what is under way of it is withdrawn, what was answered stays. One whose
    /// requests are all answered ends when its turn comes.
    func cancel(_ id: String, _ service: OpenAIService) throws {
        let batch = try folder.change(id) {
            if $0.state != .finalizing { $0.enter(.cancelling) }
        }
        guard let task = state.withLock({ $0.tasks[id] }) else {
            // One that could not go on ends now.
            return start(id, service)
        }
        if batch?.state == .cancelling { task.cancel() }
    }
}
