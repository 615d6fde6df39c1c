import Synchronization

/// Virtual time that moves by itself, with one history for one seed.
///
/// Threads take turns: exactly one runs, until it waits or ends. Among the threads that could go
/// on, a seed chooses. When none can, time moves to the next moment that a thread waits for, or to
/// the next event. So neither the kernel's scheduler nor the machine's speed decides anything.
///
/// Invariants:
/// 1. One thread runs at a time; the thread that makes the time runs first.
/// 2. Threads are chosen by their numbers and the seed alone.
/// 3. A thread that waits holds no lock that another thread of this time takes.
package final class SimulatedTime: VirtualTime {
    /// What a thread of this time does.
    private enum Standing {
        case ready
        case running
        case waiting(Wait)
        case ended
    }

    /// What a thread waits for.
    ///
    /// Safe because `isQuiet` is called only while its thread waits, by the one thread that runs.
    private struct Wait: @unchecked Sendable {
        let moment: UInt64
        let isQuiet: () -> Bool
    }

    private struct Member {
        let turn = Turn()
        var standing = Standing.ready
    }

    private struct State {
        var members: [Member] = [Member()]
        /// The thread that runs.
        var running = 0
        /// Threads that can go on, next last.
        var queue: [Int] = []
        /// Changes when the conditions were last checked.
        var changesSeen: UInt64 = .max
        var draws: UInt64 = 0
        var events: (any TimedEvents)?
    }

    private let state: Mutex<State>
    private let now = Atomic<UInt64>(SimulatedTime.begin)
    private let changes = Atomic<UInt64>(0)
    private let draw: @Sendable (UInt64) -> UInt64

    /// The time at the begin: not 0, which stands for no time.
    package static let begin: UInt64 = 1_000_000_000

    /// Time in which the calling thread runs.
    ///
    /// - Parameter draw: Random bits for a count; decides which thread goes on first.
    package init(draw: @escaping @Sendable (UInt64) -> UInt64) {
        self.draw = draw
        state = Mutex(State())
        state.withLock { $0.members[0].standing = .running }
    }

    /// The clock that a `FabricConfiguration` takes.
    package var clock: FabricClock { FabricClock(self) }

    /// The time in nanoseconds.
    package var nanoseconds: UInt64 { now.load(ordering: .acquiring) }

    /// Has events happen in this time.
    func attach(_ events: any TimedEvents) { state.withLock { $0.events = events } }

    /// Announces a thread, before it starts.
    package func threadBegins() -> Int {
        state.withLock { state in
            state.members.append(Member())
            state.changesSeen = .max
            return state.members.count - 1
        }
    }

    /// Blocks a new thread until its first turn.
    package func threadRuns(_ number: Int) {
        let turn = state.withLock { $0.members[number].turn }
        turn.take()
    }

    /// Says that a thread is at its end, or never started.
    package func threadEnds(_ number: Int) {
        let next = state.withLock { state -> Turn? in
            state.members[number].standing = .ended
            changes.add(1, ordering: .relaxed)
            guard state.running == number else { return nil }
            return choose(&state)
        }
        next?.give()
    }

    /// Says that something which an `isQuiet` reads has changed.
    package func changed() { changes.add(1, ordering: .relaxed) }

    /// Blocks the calling thread while `isRunning` holds.
    package func waitForEnd(while isRunning: () -> Bool) {
        while isRunning() { wait(until: .max, while: isRunning) }
    }

    /// Lets the other threads run while `isQuiet` holds and until `moment`; may return early.
    package func wait(until moment: UInt64, while isQuiet: () -> Bool) {
        guard nanoseconds < moment, isQuiet() else { return }
        withoutActuallyEscaping(isQuiet) { isQuiet in
            let wait = Wait(moment: moment, isQuiet: isQuiet)
            let (own, next) = suspend(wait)
            guard own !== next else { return }
            next.give()
            own.take()
        }
    }
}

// MARK: - Turns

extension SimulatedTime {
    /// Notes what the running thread waits for; returns its turn and that of the next.
    private func suspend(_ wait: Wait) -> (own: Turn, next: Turn) {
        state.withLock { state in
            let own = state.members[state.running].turn
            state.members[state.running].standing = .waiting(wait)
            return (own, choose(&state))
        }
    }

    /// Takes the next thread from the queue; fills it, and moves time, until there is one.
    private func choose(_ state: inout State) -> Turn {
        while true {
            while let number = state.queue.popLast() {
                if case .ended = state.members[number].standing { continue }
                state.members[number].standing = .running
                state.running = number
                return state.members[number].turn
            }
            check(&state)
            if state.queue.isEmpty { move(&state) }
        }
    }

    /// Fills the queue with the threads that can go on, in an order that the seed chooses.
    private func check(_ state: inout State) {
        let count = changes.load(ordering: .relaxed)
        let hasChanged = state.changesSeen != count
        state.changesSeen = count
        let now = nanoseconds
        for (number, member) in state.members.enumerated() {
            switch member.standing {
            case .running, .ended: continue
            case .ready: state.queue.append(number)
            case .waiting(let wait):
                if wait.moment <= now || (hasChanged && !wait.isQuiet()) {
                    state.queue.append(number)
                }
            }
        }
        // Fisher and Yates.
        for last in stride(from: state.queue.count - 1, to: 0, by: -1) {
            state.draws += 1
            state.queue.swapAt(last, Int(draw(state.draws) % UInt64(last + 1)))
        }
    }

    /// Moves time to the next moment at which a thread or an event is due.
    private func move(_ state: inout State) {
        var next = state.events?.nextMoment ?? .max
        for member in state.members {
            if case .waiting(let wait) = member.standing { next = min(next, wait.moment) }
        }
        precondition(next < .max, "all threads wait, and none for a moment")
        let moment = max(next, nanoseconds)
        now.store(moment, ordering: .releasing)
        state.events?.happen(at: moment)
    }
}
