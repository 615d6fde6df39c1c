import Synchronization
import Testing
import Topology
import TransportTesting

@testable import Transport

@Suite struct LoopbackTests {
    /// Every rank puts a word to every rank and reads what the others put.
    private func exchangeWords(_ fabric: any Fabric, rounds: UInt64) throws {
        let deadline = Deadline(.seconds(20), "test")
        let window = try fabric.makeWindow(
            name: "mail", byteCount: 4096, signalCount: 16, stagingByteCount: 64,
            deadline: deadline)
        for round in 1 ... rounds {
            let word = round * 1000 + UInt64(fabric.rank.rawValue)
            window.withStaging(0 ..< 8) { $0.storeBytes(of: word, as: UInt64.self) }
            for peer in fabric.ranks {
                try window.put(
                    0 ..< 8, to: peer, at: fabric.rank.rawValue * 8, signal: fabric.rank.rawValue,
                    value: round)
            }
            for peer in fabric.ranks {
                try window.wait(
                    signal: peer.rawValue, atLeast: round, from: peer, deadline: deadline)
                #expect(window.word(at: peer.rawValue) == round * 1000 + UInt64(peer.rawValue))
            }
            try fabric.barrier(deadline: deadline)
        }
        fabric.close()
    }

    @Test func `a put arrives before its signal`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 3)) { try exchangeWords($0, rounds: 50) }
    }

    @Test func `16 ranks on few cores complete without a stall`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 16)) {
            try exchangeWords($0, rounds: 10)
        }
    }

    @Test func `one rank alone is a fabric`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 1)) { try exchangeWords($0, rounds: 2) }
    }

    @Test func `stores reach inside a node and not across nodes`() throws {
        let fabrics = try makeLoopbackFabrics(rankCount: 4) { $0.nodes = [0, 0, 1, 1] }
        try onEveryRank(fabrics) { fabric in
            let window = try fabric.makeWindow(
                name: "w", byteCount: 64, signalCount: 1,
                deadline: Deadline(.seconds(10), "test"))
            for peer in fabric.ranks {
                let isReached = window.withPeerBytes(of: peer, 0 ..< 8) { $0.byteCount } == 8
                #expect(isReached == (fabric.node(of: peer) == fabric.node(of: fabric.rank)))
            }
            #expect(fabric.nodeCount == 2)
            #expect(fabric.nodeRanks.count == 2)
            try fabric.barrier(deadline: Deadline(.seconds(10), "test"))
            fabric.close()
        }
    }

    @Test func `a rank that vanishes is named by every survivor until it is masked`() throws {
        let time = ManualClock()
        let fabrics = try makeLoopbackFabrics(rankCount: 3) { $0.clock = time.clock }
        try onEveryRank(fabrics, in: time) { fabric in
            if fabric.rank == 2 { return fabric.vanish() }
            // Rank 0 waits for the dead rank, rank 1 for rank 0: both must name rank 2.
            let window = try fabric.makeWindowLocally()
            let source: Rank = fabric.rank == 0 ? 2 : 0
            let error = #expect(throws: TransportError.self) {
                try window.wait(
                    signal: 0, atLeast: 100, from: source,
                    deadline: fabric.deadline(.seconds(10), "test"))
            }
            #expect(error?.rank == 2)
            #expect(error?.description.hasSuffix("no heartbeat for 5.0 seconds") == true)
            #expect(fabric.lostRanks == [2])
            fabric.mask(2)
            try fabric.barrier(deadline: fabric.deadline(.seconds(10), "after the loss"))
            fabric.close()
        }
    }

    @Test func `a rank that closes is named by who waits for it`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 2)) { fabric in
            if fabric.rank == 1 { return fabric.close() }
            let window = try fabric.makeWindowLocally()
            let error = #expect(throws: TransportError.self) {
                try window.wait(
                    signal: 0, atLeast: 100, from: 1, deadline: Deadline(.seconds(10), "test"))
            }
            #expect("\(error!)" == "rank 1 left during test: it closed its fabric")
        }
    }

    @Test func `a wait that nobody ends meets its deadline and names its source`() throws {
        let time = ManualClock()
        let begin = time.nanoseconds
        let fabrics = try makeLoopbackFabrics(rankCount: 2) { $0.clock = time.clock }
        try onEveryRank(fabrics, in: time) { fabric in
            let window = try fabric.makeWindow(
                name: "w", byteCount: 8, signalCount: 1,
                deadline: fabric.deadline(.seconds(10), "test"))
            let other = Rank(rawValue: 1 - fabric.rank.rawValue)
            #expect(
                throws: TransportError.deadline(
                    other, phase: "dispatch of layer 3", limit: .seconds(60))
            ) {
                try window.wait(
                    signal: 0, atLeast: 100, from: other,
                    deadline: fabric.deadline(.seconds(60), "dispatch", layer: 3))
            }
            #expect(fabric.clock.nanoseconds - begin == 60_000_000_000)
            try fabric.barrier(deadline: fabric.deadline(.seconds(10), "test"))
            fabric.close()
        }
    }

    @Test func `the ranks of a part are named as the whole job names them`() throws {
        let time = ManualClock()
        let fabrics = try makeLoopbackFabrics(rankCount: 2) {
            $0.names = [1, 3]
            $0.clock = time.clock
        }
        try onEveryRank(fabrics, in: time) { fabric in
            let window = try fabric.makeWindow(
                name: "w", byteCount: 8, signalCount: 1,
                deadline: fabric.deadline(.seconds(10), "test"))
            guard fabric.rank == 0 else { return fabric.vanish() }
            #expect(
                throws: TransportError.deadline(3, phase: "combine", limit: .milliseconds(50))
            ) {
                try window.wait(
                    signal: 0, atLeast: 1, from: 1,
                    deadline: fabric.deadline(.milliseconds(50), "combine"))
            }
            let error = #expect(throws: TransportError.self) {
                try window.wait(
                    signal: 0, atLeast: 1, from: 1,
                    deadline: fabric.deadline(.seconds(30), "combine"))
            }
            #expect(
                error?.during("step 9").description
                    .hasPrefix("rank 3 left during combine of step 9: ") == true, "\(error!)")
            #expect(fabric.lostRanks == [1])
            fabric.close()
        }
    }

    @Test func `ranks that make different windows are told who disagrees`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 2)) { fabric in
            let error = #expect(throws: TransportError.self) {
                try fabric.makeWindow(
                    name: "of \(fabric.rank)", byteCount: 8, signalCount: 1,
                    deadline: Deadline(.seconds(10), "test"))
            }
            let other = Rank(rawValue: 1 - fabric.rank.rawValue)
            #expect(
                error
                    == .disagreement(
                        other, subject: "a window named", theirs: "of \(other)",
                        ours: "of \(fabric.rank)"))
        }
    }

    @Test func `a window larger than the node is refused by its size`() throws {
        try onEveryRank(try makeLoopbackFabrics(rankCount: 1)) { fabric in
            let error = #expect(throws: TransportError.self) {
                try fabric.makeWindow(
                    name: "huge", byteCount: 1 << 49, signalCount: 0,
                    deadline: Deadline(.seconds(10), "test"))
            }
            #expect("\(error!)".contains("memory of this node"))
        }
    }
}

extension Window {
    /// The 64-bit word at an index of this rank's window.
    func word(at index: Int) -> UInt64 {
        withBytes(index * 8 ..< index * 8 + 8) { unsafe $0.unsafeLoad(as: UInt64.self) }
    }
}

extension Fabric {
    /// The window that barriers use, for tests in which not all ranks can make one.
    func makeWindowLocally() throws -> Window {
        try #require((self as? RankFabric)?.barrierWindow)
    }
}

/// Runs `body` on a thread per fabric and rethrows the first error.
///
/// - Parameter time: The time that the fabrics live in, if it is not the machine's.
func onEveryRank(
    _ fabrics: [any Fabric], in time: ManualClock? = nil,
    _ body: @escaping @Sendable (any Fabric) throws -> Void
) throws {
    let errors = Mutex<[any Error]>([])
    if let time {
        time.run(threads: fabrics.count) { index in
            do { try body(fabrics[index]) } catch { errors.withLock { $0.append(error) } }
        }
        if let error = errors.withLock({ $0.first }) { throw error }
        return
    }
    var threads: [FabricThread] = []
    for fabric in fabrics {
        threads.append(
            try FabricThread("rank") {
                do { try body(fabric) } catch { errors.withLock { $0.append(error) } }
            })
    }
    for thread in threads { thread.join() }
    if let error = errors.withLock({ $0.first }) { throw error }
}
