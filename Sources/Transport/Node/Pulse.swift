import CFabric
import Glibc
import Synchronization
import Topology

/// Shows that this rank lives, and watches whether the others of its node do.
///
/// A killed process is told by its pidfd at once; a stopped one by its heartbeat, which ends.
///
/// Invariants:
/// 1. A rank that could not run itself judges nobody: after a gap of its own it waits a full
///    silence limit more.
final class Pulse: Sendable {
    private let thread: FabricThread
    private let wake: Wakeup

    init(
        own: ControlBlock, rank: Rank, members: [RankFabric.Member], silenceLimit: Duration,
        losses: Losses, clock: FabricClock
    ) throws(TransportError) {
        let wake = try Wakeup(clock: clock)
        var watch = PulseWatch(
            rank: rank, rankCount: members.count, own: own, wake: wake,
            silence: silenceLimit.wholeNanoseconds, losses: losses, clock: clock)
        for (index, member) in members.enumerated() where index != rank.rawValue {
            guard let control = member.control else { continue }
            watch.add(Rank(rawValue: index), control: control, process: member.process)
        }
        own.beat(at: clock.nanoseconds)
        let started = watch
        do throws(TransportError) {
            thread = try FabricThread("apus-pulse", clock: clock) { started.run() }
        } catch {
            started.closeDescriptors()
            throw error
        }
        self.wake = wake
    }

    /// Ends the heartbeat.
    func stop() {
        wake.ring()
        thread.join()
    }
}

/// What the pulse's thread looks at.
private struct PulseWatch: Sendable {
    struct Neighbour: Sendable {
        let rank: Rank
        let control: ControlBlock
        let process: Int32
        /// -1 for a rank of this process, and where the kernel gave none.
        let descriptor: Int32
    }

    let rank: Rank
    let rankCount: Int
    let own: ControlBlock
    let wake: Wakeup
    let silence: UInt64
    let losses: Losses
    let clock: FabricClock
    var neighbours: [Neighbour] = []

    mutating func add(_ rank: Rank, control: ControlBlock, process: Int32) {
        let descriptor = process == getpid() ? -1 : fabric_pidfd(process)
        neighbours.append(
            Neighbour(rank: rank, control: control, process: process, descriptor: descriptor))
    }

    func closeDescriptors() {
        for neighbour in neighbours where neighbour.descriptor >= 0 {
            Glibc.close(neighbour.descriptor)
        }
    }

    /// Ten beats per silence limit: one lost to the scheduler does not matter.
    private var interval: UInt64 { min(silence / 10, 500_000_000) }

    func run() {
        var watched = neighbours
        var lastBeat = clock.nanoseconds
        var trustedSince = lastBeat
        while true {
            let pollStatus = poll(watched)
            if pollStatus.stopped { break }
            let now = clock.nanoseconds
            own.beat(at: now)
            if now &- lastBeat > silence / 2 { trustedSince = now }
            lastBeat = now
            watched.removeAll { neighbour in
                if neighbour.control.state == .left {
                    losses.addLeft(neighbour.rank, blaming: blame(of: neighbour))
                    own.ring()
                    return true
                }
                let ended = pollStatus.ended.contains(neighbour.rank)
                guard let cause = ended ? Self.ended : silenceCause(neighbour, now, trustedSince)
                else { return false }
                losses.add(neighbour.rank, cause: cause)
                own.ring()
                return true
            }
        }
        closeDescriptors()
    }

    /// Checked: the word lies in memory that the neighbour writes.
    private func blame(of neighbour: Neighbour) -> Rank? {
        guard let blame = neighbour.control.blame, blame != rank, blame.rawValue < rankCount else {
            return nil
        }
        return blame
    }

    private static let ended = "its process ended"

    private func silenceCause(
        _ neighbour: Neighbour, _ now: UInt64, _ trustedSince: UInt64
    ) -> String? {
        let heard = max(neighbour.control.heartbeat, trustedSince)
        guard now > heard, now - heard > silence else { return nil }
        return "no heartbeat for \(Duration.nanoseconds(Int64(silence)))"
    }

    private func poll(_ watched: [Neighbour]) -> (stopped: Bool, ended: Set<Rank>) {
        var entries = [pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)]
        entries += watched.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        guard clock.wait(for: &entries, until: clock.nanoseconds &+ interval) else {
            return (false, [])
        }
        let ended = zip(watched, entries.dropFirst()).filter { $1.revents != 0 }.map(\.0.rank)
        return (entries[0].revents != 0, Set(ended))
    }
}
