import Encoding
import Logging
import Synchronization

/// Performs one batch, from wherever an earlier server left it.
struct BatchRun: Sendable {
    /// Faults of an input that are told.
    private static let faultLimit = 100
    /// Lost ranks that a request may see: one that brings ranks down must not do so all day.
    private static let lossLimit = 5

    let id: String
    let service: OpenAIService
    let folder: BatchFolder
    /// Of batches that are performed; this one has one of them.
    let turns: BatchSlots
    /// Of texts that are under way for batches.
    let slots: BatchSlots
    /// Of lines that are in memory, with a slot or waiting for one or for their key.
    let held: BatchSlots
    /// Where the batch waits for the disk.
    let lane: WorkLane

    /// Its key has nothing left, and others wait for its turn.
    private struct Postponed: Error {}

    /// Returns when the batch has ended, or when the task is cancelled, because the batch is to be
    /// cancelled or because the server goes down.
    ///
    /// - Returns: Whether it is to be performed again once its key may use something.
    func perform() async -> Bool {
        guard let batch = folder.batch(id) else { return false }
        var results: BatchResults?
        do {
            // Reading what an earlier server wrote may take long.
            let opened = try await inBackground { try BatchResults(batch, in: folder) }
            results = opened
            if opened.damagedLines > 0 {
                service.log.warning(
                    """
                    batch \(id): \(opened.damagedLines) lines of its results are damaged: they \
                    stay, and their requests are answered again
                    """)
            }
            do {
                try await advance(batch, opened)
            } catch let refused as Batch.Refused {
                try await end(.failed, opened, faults: refused.faults)
            } catch is CancellationError {
                // A server that goes down leaves the batch to the next one.
                if state == .cancelling { try await end(.cancelled, opened) }
            } catch is Postponed {
                return true
            }
        } catch {
            await fail(error, results)
        }
        return false
    }

    /// Waits until the batch's key may use something, or the window is over.
    ///
    /// - Parameter pause: Before the first poll.
    /// - Throws: `CancellationError`.
    func waitForKey(after pause: Duration) async throws {
        guard let batch = folder.batch(id) else { return }
        let left = Duration.seconds(max(0, batch.expires - StoredID.now))
        try await Task.sleep(for: min(pause, left))
        while let seconds = service.secondsToWait(for: batch.owner, until: batch.expires) {
            try await Task.sleep(for: .seconds(seconds))
        }
    }

    /// Does what waits for the disk, where neither streams nor requests wait for it.
    private func inBackground<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await lane.run(for: id, body)
    }

    private var state: Batch.State? { folder.batch(id)?.state }

    private func advance(_ batch: Batch, _ results: BatchResults) async throws {
        if state == .validating { try await validate(batch) }
        if state == .inProgress { try await answerAll(of: batch, results) }
        if state == .cancelling { throw CancellationError() }
        if state == .finalizing {
            let hasExpired = folder.batch(id)?.hasExpired == true
            try await end(hasExpired ? .expired : .completed, results)
        }
    }

    /// Checks every line, so that a batch is refused before it costs anything.
    private func validate(_ batch: Batch) async throws {
        var faults: [Batch.Fault] = []
        // Python's texts, which are equal by their characters alone, not by what these mean.
        var ids: Set<[UInt8]> = []
        var count = 0
        var lines = try BatchLines(batch, in: folder, for: service)
        while faults.count < Self.faultLimit, let line = try await lines.next() {
            count += 1
            guard count <= service.limits.batchRequests else {
                faults.append(
                    Batch.Fault(
                        code: "too_many_requests",
                        message: "there are more than \(service.limits.batchRequests) requests "
                            + "(api.limits.batchRequests)", line: line.number))
                break
            }
            switch line.request {
            case .failure(let error):
                faults.append(
                    Batch.Fault(
                        code: error.code ?? "invalid_request", message: error.message,
                        line: line.number))
            case .success(let request) where !ids.insert(Array(request.id.utf8)).inserted:
                faults.append(
                    Batch.Fault(
                        code: "duplicate_custom_id",
                        message: "custom_id \(JSONValue.quoted(request.id)) stands in an earlier "
                            + "line", line: line.number))
            case .success: break
            }
        }
        if count == 0 {
            faults.append(Batch.Fault(code: "empty_file", message: "the file has no requests"))
        }
        guard faults.isEmpty else { throw Batch.Refused(faults: faults) }
        try folder.change(id) {
            $0.counts.total = count
            if $0.state == .validating { $0.enter(.inProgress) }
        }
    }

    /// Answers every request that has no answer yet.
    private func answerAll(of batch: Batch, _ results: BatchResults) async throws {
        let isPostponed = Flag()
        try await withThrowingDiscardingTaskGroup { group in
            var lines = try BatchLines(batch, in: folder, for: service)
            while !group.isCancelled {
                // Before a slot is taken, which others' batches could use meanwhile.
                guard !isPostponed.isSet, try await hasKey(batch) else {
                    isPostponed.set()
                    break
                }
                let place = try await held.take()
                // A line is read when it can be answered, so that few are held.
                let slot = try await slots.take()
                guard let line = try await lines.next(), case .success(let request) = line.request
                else { break }
                guard !results.answered.contains(Array(request.id.utf8)) else { continue }
                group.addTask {
                    if try await !answer(request, of: batch, results, in: slot) {
                        isPostponed.set()
                    }
                    place.give()
                }
            }
        }
        try Task.checkCancellation()
        if isPostponed.isSet { throw Postponed() }
        try folder.change(id) { if $0.state == .inProgress { $0.enter(.finalizing) } }
    }

    /// What several tasks can set.
    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }

    /// Waits until the batch's key may use something, or the window is over.
    ///
    /// - Returns: False where another batch waits for a turn, or for lines to be forgotten.
    private func hasKey(_ batch: Batch) async throws -> Bool {
        while let seconds = service.secondsToWait(for: batch.owner, until: batch.expires) {
            if turns.areWanted || held.areWanted { return false }
            try await Task.sleep(for: .seconds(seconds))
        }
        return true
    }

    /// Answers one request, and tries again where the server has no room or a rank was lost.
    ///
    /// - Parameter slot: Of a text, which others may use while this one waits.
    /// - Returns: False where it has no answer, because others wait and the key has nothing left.
    private func answer(
        _ line: BatchLine, of batch: Batch, _ results: BatchResults, in slot: BatchSlots.Slot
    ) async throws -> Bool {
        var (losses, slot) = (0, slot)
        while true {
            // The key may have used its tokens, or have left, since the line was read.
            while service.secondsToWait(for: batch.owner, until: batch.expires) != nil {
                slot.give()
                guard try await hasKey(batch) else { return false }
                slot = try await slots.take()
            }
            let left = batch.expires - StoredID.now
            guard left > 0 else { break }
            do {
                guard let body = try await body(for: line, of: batch, within: left) else { break }
                try results.add(BatchLine.result(line.id, status: 200, body: body))
                slot.give()
                return true
            } catch let error where !(error is BatchResults.Unwritten) {
                try Task.checkCancellation()
                if isLoss(error) { losses += 1 }
                let error = APIError(error)
                guard losses < Self.lossLimit, let seconds = error.retryAfterSeconds else {
                    let body =
                        batch.endpoint == .messages ? Messages.body(of: error) : error.body
                    try results.add(
                        failed: BatchLine.result(line.id, status: error.status, body: body))
                    return true
                }
                slot.give()
                try await Task.sleep(for: .seconds(min(seconds, left)))
                slot = try await slots.take()
            }
        }
        try folder.change(id) { $0.hasExpired = true }
        try results.add(failed: BatchLine.expired(line.id))
        return true
    }

    /// The answer; nil where the window is over before it, which withdraws the request.
    private func body(
        for line: BatchLine, of batch: Batch, within seconds: Int
    ) async throws -> JSONValue? {
        try await withThrowingTaskGroup(of: JSONValue?.self) { group in
            group.addTask {
                try await service.batchAnswer(line, to: batch.endpoint, of: batch.owner)
            }
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    /// Whether a request ended with its rank while the other ranks go on.
    private func isLoss(_ error: any Error) -> Bool {
        guard case .rankLost? = error as? ServingError else { return false }
        return service.router.health != .lost
    }

    /// Gives the files with the answers to the owner, and ends the batch.
    ///
    /// - Parameter results: Nil where they cannot be opened: the files are what they are.
    private func end(
        _ state: Batch.State, _ results: BatchResults?, faults: [Batch.Fault] = []
    ) async throws {
        guard let batch = folder.batch(id), !batch.state.hasEnded else { return }
        try await inBackground {
            let (output, errors) = try results?.close() ?? BatchResults.bytes(of: batch, in: folder)
            let files = [(batch.output, output, "output"), (batch.errors, errors, "error")]
            for (file, bytes, word) in files where bytes > 0 {
                try folder.add(
                    StoredFile(
                        id: file, name: "\(batch.id)_\(word).jsonl", purpose: .output,
                        bytes: bytes, created: StoredID.now, owner: batch.owner))
            }
            try folder.change(id) {
                ($0.hasOutput, $0.hasErrors) = (output > 0, errors > 0)
                $0.faults = faults
                $0.enter(state)
            }
        }
    }

    /// Ends the batch because its files cannot be read or written.
    ///
    /// Where even that cannot be written it stays open: cancelling it, or another server, tries
    /// again, and no answer is lost.
    private func fail(_ error: any Error, _ results: BatchResults?) async {
        service.log.warning("batch \(id) cannot go on: \(error)")
        let fault = Batch.Fault(
            code: "storage",
            message: "the server cannot read or write the files of the batch: its log says why")
        do {
            try await end(state == .cancelling ? .cancelled : .failed, results, faults: [fault])
        } catch {
            service.log.warning("the batch folder cannot be written: \(error)")
        }
    }
}
