import Synchronization

/// Places for what may be under way at once, in the order in which it asks.
final class BatchSlots: Sendable {
    /// A place, which is given back at the latest when it is dropped.
    final class Slot: Sendable {
        private let slots: Mutex<BatchSlots?>

        fileprivate init(_ slots: BatchSlots) { self.slots = Mutex(slots) }

        deinit { give() }

        func give() {
            let slots = slots.withLock { slots in
                defer { slots = nil }
                return slots
            }
            slots?.give()
        }
    }

    private struct Waiting {
        let number: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var free: Int
        var waiting: [Waiting] = []
        var last = 0
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: count)) }

    /// Whether somebody waits for a slot.
    var areWanted: Bool { state.withLock { !$0.waiting.isEmpty } }

    /// Waits for a slot and takes it.
    ///
    /// - Throws: `CancellationError` without a slot, if the task is cancelled meanwhile.
    func take() async throws -> Slot {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        let isTaken = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> Bool? in
                    // A handler that ran before this would find nobody.
                    if Task.isCancelled { return false }
                    guard state.free == 0 else {
                        state.free -= 1
                        return true
                    }
                    state.waiting.append(Waiting(number: number, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiting = state.withLock { state -> Waiting? in
                state.waiting.firstIndex { $0.number == number }
                    .map { state.waiting.remove(at: $0) }
            }
            waiting?.continuation.resume(returning: false)
        }
        guard isTaken else { throw CancellationError() }
        return Slot(self)
    }

    private func give() {
        let next = state.withLock { state -> Waiting? in
            guard !state.waiting.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.continuation.resume(returning: true)
    }
}
