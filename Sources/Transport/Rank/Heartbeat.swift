import CFabric
import Glibc
import Synchronization
import Topology

/// Shows the other ranks of the node that this rank lives, and watches whether they do.
///
/// A killed process is noticed by its pidfd at once, a stopped one by its heartbeat, which ends.
final class Heartbeat: Sendable {
    private let thread: FabricThread
    private let wake: Wakeup

    init(
        own: ControlBlock, rank: Rank, table: [RankTable.Entry], silenceLimit: Duration,
        lostRanks: LostRanks, clock: FabricClock
    ) throws(TransportError) {
        let wake = try Wakeup(clock: clock)
        var watch = HeartbeatWatch(
            rank: rank, rankCount: table.count, own: own, wake: wake,
            silenceLimit: silenceLimit, lostRanks: lostRanks, clock: clock)
        for (index, member) in table.enumerated() where index != rank.rawValue {
            guard let control = member.control else { continue }
            watch.add(Rank(rawValue: index), control: control, process: member.process)
        }
        own.beat(at: clock.nanoseconds)
        let started = watch
        do throws(TransportError) {
            thread = try FabricThread("apus-heartbeat", clock: clock) { started.run() }
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

/// What the heartbeat's thread reads.
private struct HeartbeatWatch: Sendable {
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
    let silenceLimit: Duration
    let lostRanks: LostRanks
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
    private var interval: UInt64 { min(silenceLimit.wholeNanoseconds / 10, 500_000_000) }

    func run() {
        var watched = neighbours
        var limit = SilenceLimit(silenceLimit, now: clock.nanoseconds)
        while true {
            let pollStatus = poll(watched)
            if pollStatus.stopped { break }
            let now = clock.nanoseconds
            own.beat(at: now)
            limit.turn(at: now)
            watched.removeAll { neighbour in
                if neighbour.control.state == .left {
                    lostRanks.addLeft(
                        neighbour.rank,
                        suspect: SuspectWord.decode(
                            neighbour.control.suspectWord, own: rank, rankCount: rankCount))
                    own.ring()
                    return true
                }
                let ended = pollStatus.ended.contains(neighbour.rank)
                guard let cause = ended ? Self.ended : silenceCause(neighbour, limit, now)
                else { return false }
                lostRanks.add(neighbour.rank, cause: cause)
                own.ring()
                return true
            }
        }
        closeDescriptors()
    }

    private static let ended = "its process ended"

    private func silenceCause(
        _ neighbour: Neighbour, _ limit: SilenceLimit, _ now: UInt64
    ) -> String? {
        guard limit.isExceeded(lastHeard: neighbour.control.heartbeat, at: now) else { return nil }
        return "no heartbeat for \(limit.description)"
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
