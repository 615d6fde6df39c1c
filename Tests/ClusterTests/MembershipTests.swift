import Testing
import Topology

@testable import Cluster

@Suite struct MembershipTests {
    static let identity = JobIdentity(
        build: "b", files: ["config.json": "m"], settings: ["threads": "1"])

    /// The identity with one field changed.
    static func identity(_ change: (inout JobIdentity) -> Void) -> JobIdentity {
        var other = identity
        change(&other)
        return other
    }

    static func job(ranks: Int = 2) -> Membership {
        Membership(
            configuration: Membership.Configuration(
                rankCount: ranks, identity: identity,
                deadlines: [
                    .join: .seconds(10), .load: .seconds(20), .connect: .seconds(5),
                    .warmUp: .seconds(5),
                ], silenceLimit: .seconds(3)), now: .zero)
    }

    static func hello(_ rank: Rank, _ identity: JobIdentity = identity, pid: Int32 = 7) -> Hello {
        Hello(rank: rank, identity: identity, pid: pid, node: "here")
    }

    static func id(_ number: Int) -> ConnectionID { ConnectionID(rawValue: number) }

    /// Two ranks that are in and loading, at 1 s.
    static func joined() -> Membership {
        var job = job()
        _ = job.apply(.arrived(id(1), hello(0)), now: .seconds(1))
        _ = job.apply(.arrived(id(2), hello(1)), now: .seconds(1))
        return job
    }

    @Test func `the job enters a phase when its slowest rank does`() {
        var job = Self.job()
        _ = job.apply(.arrived(Self.id(1), Self.hello(1)), now: .seconds(1))
        _ = job.apply(.entered(Self.id(1), .load), now: .seconds(1))
        #expect(job.phase == .join)
        let actions = job.apply(.arrived(Self.id(2), Self.hello(0)), now: .seconds(2))
        #expect(
            actions == [
                .welcome(Self.id(2), 0, Welcome(epoch: 1, rankCount: 2)), .reached(.connect),
            ])
        #expect(job.apply(.entered(Self.id(2), .ready), now: .seconds(3)) == [.reached(.load)])
    }

    @Test func `a second claim of a rank is refused and harms nobody`() {
        var job = Self.joined()
        let actions = job.apply(.arrived(Self.id(3), Self.hello(1, pid: 9)), now: .seconds(2))
        #expect(actions == [.refuse(Self.id(3), reason: "rank 1 is held by process 7 on here")])
        #expect(job.apply(.closed(Self.id(3), reason: "gone"), now: .seconds(2)).isEmpty)
        #expect(job.connection(of: 1) == Self.id(2))
    }

    @Test func `one connection speaks for one rank`() {
        var job = Self.job()
        _ = job.apply(.arrived(Self.id(1), Self.hello(0)), now: .zero)
        #expect(
            job.apply(.arrived(Self.id(1), Self.hello(1)), now: .zero) == [
                .refuse(Self.id(1), reason: "this connection is rank 0's: it says hello once")
            ])
        #expect(job.connection(of: 1) == nil)
    }

    @Test(arguments: [
        (identity { $0.protocolVersion += 1 }, "protocol version"),
        (identity { $0.version = "0.0.9" }, "version"),
        (
            identity {
                $0.build = "x"; $0.files = [:]
            }, "build"
        ),
        (
            identity {
                $0.files["config.json"] = "y"; $0.settings = [:]
            }, "model file config.json"
        ),
        (identity { $0.settings["threads"] = "2" }, "setting threads"),
    ])
    func `a worker that differs is told the first field that does`(
        identity: JobIdentity, field: String
    ) {
        var job = Self.job()
        let actions = job.apply(.arrived(Self.id(1), Self.hello(0, identity)), now: .zero)
        guard case .refuse(_, let reason) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(reason.hasPrefix("\(field) differs: the coordinator has "))
    }

    @Test func `a rank that never arrives is named with its phase and last error`() {
        var job = Self.job()
        _ = job.apply(.arrived(Self.id(1), Self.hello(0)), now: .seconds(9))
        let other = Self.identity { $0.build = "old" }
        _ = job.apply(.arrived(Self.id(2), Self.hello(1, other)), now: .seconds(9))
        let actions = job.apply(.tick, now: .seconds(11))
        guard case .end(let end) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(
            end.description == "rank 1 did not finish phase join within 10.0 s; its last error:"
                + " refused: build differs: the coordinator has b, the worker has old")
        #expect(end.exitStatus == .lost)
    }

    @Test func `a phase has its own time from when the whole job entered it`() {
        var job = Self.joined()
        _ = job.apply(.entered(Self.id(1), .warmUp), now: .seconds(1))
        _ = job.apply(.entered(Self.id(2), .load), now: .seconds(1))
        // Rank 0 waits for rank 1's load, and is not responsible for its length.
        for second in 2 ... 21 {
            for id in [1, 2] { _ = job.apply(.beat(Self.id(id), nil), now: .seconds(second)) }
            #expect(job.apply(.tick, now: .seconds(second)).isEmpty)
        }
        for id in [1, 2] { _ = job.apply(.beat(Self.id(id), nil), now: .seconds(22)) }
        let actions = job.apply(.tick, now: .seconds(22))
        #expect(
            actions == [.end(.late(rank: 1, phase: .load, deadline: .seconds(20), lastError: nil))])
    }

    @Test func `a silent rank ends the job with its name`() {
        var job = Self.joined()
        _ = job.apply(.beat(Self.id(1), nil), now: .seconds(4))
        #expect(job.apply(.tick, now: .seconds(4)).isEmpty)
        guard case .end(let end) = job.apply(.tick, now: .milliseconds(4100)).first else {
            Issue.record("the job did not end")
            return
        }
        #expect(
            end.description
                == "rank 1 was lost in phase connect, epoch 1:"
                + " silent for 3.1 s (the limit is 3.0 s)")
    }

    @Test func `a closed connection ends the job with its rank`() {
        var job = Self.joined()
        let actions = job.apply(.closed(Self.id(2), reason: "closed"), now: .seconds(2))
        #expect(actions == [.end(.lost(rank: 1, phase: .connect, epoch: 1, reason: "closed"))])
        #expect(job.apply(.closed(Self.id(1), reason: "closed"), now: .seconds(2)).isEmpty)
    }

    @Test func `the suspect is named, not the rank that suspects it`() {
        var job = Self.joined()
        _ = job.apply(
            .failed(Self.id(1), reason: "dispatch failed", lost: 1), now: .seconds(2))
        #expect(job.apply(.closed(Self.id(1), reason: "closed"), now: .seconds(2)).isEmpty)
        let actions = job.apply(.tick, now: .seconds(3))
        #expect(
            actions == [
                .end(
                    .lost(
                        rank: 1, phase: .connect, epoch: 1,
                        reason: "rank 0 reports: dispatch failed"))
            ])
    }

    @Test func `a suspect that reports another rank is replaced by that rank`() {
        var job = Self.job(ranks: 3)
        for rank in 0 ..< 3 {
            _ = job.apply(
                .arrived(Self.id(rank + 1), Self.hello(Rank(rawValue: rank))), now: .seconds(1))
        }
        _ = job.apply(.failed(Self.id(1), reason: "1 left", lost: 1), now: .seconds(2))
        _ = job.apply(.failed(Self.id(2), reason: "2 is silent", lost: 2), now: .seconds(2))
        _ = job.apply(.failed(Self.id(1), reason: "again", lost: 1), now: .seconds(2))
        #expect(
            job.apply(.tick, now: .seconds(3)) == [
                .end(
                    .lost(
                        rank: 2, phase: .connect, epoch: 1, reason: "rank 1 reports: 2 is silent"))
            ])
    }

    @Test func `a job whose launcher is gone ends for that reason`() {
        var job = Self.joined()
        #expect(job.apply(.orphaned, now: .seconds(2)) == [.end(.launcherLost)])
        #expect(JobEnd.launcherLost.exitStatus == .lost)
    }

    @Test func `a job has the epoch of its map of experts`() throws {
        let map = try ExpertMap(
            placements: [.contiguous(expertCount: 4, rankCount: 2)])
        #expect(Self.job().epoch == map.epoch)
        var configuration = Membership.Configuration(
            rankCount: 1, identity: Self.identity, deadlines: [:], silenceLimit: .seconds(3))
        configuration.epoch = 7
        var job = Membership(configuration: configuration, now: .zero)
        let welcome = job.apply(.arrived(Self.id(1), Self.hello(0)), now: .zero)
        #expect(welcome.first == .welcome(Self.id(1), 0, Welcome(epoch: 7, rankCount: 1)))
        #expect(job.snapshot(now: .zero).epoch == 7)
    }

    @Test func `numbers that go wrong in training are no bad input`() {
        #expect(JobEnd.failed(rank: 0, phase: .train, reason: "NaN").exitStatus == .failed)
        #expect(JobEnd.failed(rank: 0, phase: .load, reason: "no file").exitStatus == .badInput)
    }

    @Test func `an all-gather is delivered to everybody when the last part comes`() {
        var job = Self.joined()
        #expect(
            job.apply(.contributed(Self.id(2), Gather(label: "a"), blob: [2]), now: .seconds(2))
                .isEmpty)
        let actions = job.apply(
            .contributed(Self.id(1), Gather(label: "a"), blob: [1]), now: .seconds(2))
        #expect(
            actions == [
                .deliver(Self.id(1), Gather(label: "a"), blobs: [[1], [2]]),
                .deliver(Self.id(2), Gather(label: "a"), blobs: [[1], [2]]),
            ])
    }

    @Test func `a second part of one rank ends the job with its name`() {
        var job = Self.joined()
        _ = job.apply(.contributed(Self.id(2), Gather(label: "a"), blob: [2]), now: .seconds(2))
        let actions = job.apply(
            .contributed(Self.id(2), Gather(label: "a"), blob: [2]), now: .seconds(2))
        guard case .end(.failed(let rank, _, _)) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(rank == 1)
    }

    @Test func `an all-gather of some ranks waits for them alone, and is theirs alone`() {
        var job = Self.job(ranks: 3)
        for rank in 0 ..< 3 {
            let hello = Self.hello(Rank(rawValue: rank))
            _ = job.apply(.arrived(Self.id(rank), hello), now: .seconds(1))
        }
        let pair = Gather(label: "a", members: [2, 0])
        #expect(job.apply(.contributed(Self.id(0), pair, blob: [0]), now: .seconds(2)).isEmpty)
        // Another group may use the same label at the same time.
        let alone = Gather(label: "a", members: [1])
        #expect(
            job.apply(.contributed(Self.id(1), alone, blob: [1]), now: .seconds(2))
                == [.deliver(Self.id(1), alone, blobs: [[1]])])
        #expect(
            job.apply(.contributed(Self.id(2), pair, blob: [2]), now: .seconds(2)) == [
                .deliver(Self.id(2), pair, blobs: [[2], [0]]),
                .deliver(Self.id(0), pair, blobs: [[2], [0]]),
            ])
    }

    @Test(arguments: [[0], [0, 0, 1], [1, 9]] as [[Rank]])
    func `an all-gather with members that cannot be ends the job with the rank's name`(
        members: [Rank]
    ) {
        var job = Self.joined()
        let gather = Gather(label: "a", members: members)
        let actions = job.apply(.contributed(Self.id(2), gather, blob: []), now: .seconds(2))
        guard case .end(.failed(let rank, _, _)) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(rank == 1)
    }

    @Test func `a job is done when every rank said that it is finished`() {
        var job = Self.joined()
        #expect(job.apply(.finished(Self.id(2)), now: .seconds(2)).isEmpty)
        #expect(job.apply(.finished(Self.id(2)), now: .seconds(2)).isEmpty)
        #expect(job.apply(.finished(Self.id(1)), now: .seconds(2)) == [.end(.done)])
        #expect(JobEnd.done.exitStatus == .done)
    }

    @Test(arguments: [UInt64(1), 2, 3, 4, 5])
    func `random events never take a phase back or end a job twice`(seed: UInt64) {
        var random = Sequence64(state: seed)
        for _ in 0 ..< 200 {
            var job = Self.job(ranks: 3)
            var phase = Phase.join
            var ends = 0
            for step in 0 ..< 60 {
                let event = Self.event(&random)
                for case .end in job.apply(event, now: .milliseconds(step * 100)) { ends += 1 }
                #expect(job.phase >= phase, "seed \(seed)")
                phase = job.phase
            }
            #expect(ends <= 1, "seed \(seed)")
        }
    }

    private static func event(_ random: inout Sequence64) -> Membership.Event {
        let connection = id(Int.random(in: 1 ... 5, using: &random))
        let rank = Rank(rawValue: Int.random(in: -1 ... 3, using: &random))
        switch Int.random(in: 0 ..< 13, using: &random) {
        case 0 ..< 4: return .arrived(connection, hello(rank))
        case 4 ..< 7: return .entered(connection, Phase.allCases.randomElement(using: &random)!)
        case 7: return .contributed(connection, Gather(label: "x"), blob: [1])
        case 8: return .beat(connection, RankStatistics())
        case 9: return .failed(connection, reason: "r", lost: rank)
        case 10: return .tick
        case 11: return .finished(connection)
        default: return .closed(connection, reason: "c")
        }
    }
}

/// SplitMix64: a failure reruns from its seed alone.
struct Sequence64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
