import Synchronization
import Testing
import Topology
import TransportTesting

@testable import Transport

/// The engine's thread in virtual time, with a core whose remote rank never answers.
@Suite struct ProgressEngineTests {
    /// Takes puts, and never completes one.
    private final class DeafCore: EngineCore {
        let rank: Rank = 0
        let rankCount = 2
        let outside: EngineOutside
        let said: SaidKinds
        private var liveness = [PeerLiveness(0), PeerLiveness(1)]
        private(set) var outstandingCount = 0

        init(outside: EngineOutside, said: SaidKinds) {
            self.outside = outside
            self.said = said
        }

        func address() throws(TransportError) -> [UInt8] { [] }
        func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
            liveness[1].connected(at: outside.clock.nanoseconds)
        }
        func path(to rank: Rank) -> (path: Path, isFinal: Bool) { (.tcp("nowhere"), true) }
        func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] { [] }
        func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}
        func release(window: Int) {}
        func put(_ put: Put) throws(TransportError) -> Posting {
            outstandingCount += 1
            return .pending
        }
        func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) { said.note(kind) }
        func progress() -> Bool { false }
        func arm() -> Bool { true }
        var eventDescriptors: [Int32] { [] }
        subscript(liveness rank: Rank) -> PeerLiveness {
            get { liveness[rank.rawValue] }
            set { liveness[rank.rawValue] = newValue }
        }
        func disconnect(_ rank: Rank) { outstandingCount = 0 }
        func closeFailed() {}
        func closeAll() {}
    }

    /// What the core was asked to say, read by the test.
    private final class SaidKinds: Sendable {
        private let kinds = Mutex<[PutHeader.Kind]>([])
        func note(_ kind: PutHeader.Kind) { kinds.withLock { $0.append(kind) } }
        func count(of kind: PutHeader.Kind) -> Int { kinds.withLock { $0.count { $0 == kind } } }
    }

    private struct Setup {
        let time = ManualClock()
        let said = SaidKinds()
        let lost = LostRanks()
        let engine: ProgressEngine

        init() throws {
            var configuration = FabricConfiguration(rank: 0, rankCount: 2, transport: .loopback)
            configuration.clock = time.clock
            let control = ControlBlock(
                try Region(named: "control", byteCount: ControlBlock.byteCount),
                clock: time.clock)
            let outside = EngineOutside(lostRanks: lost, control: control, clock: time.clock)
            engine = try ProgressEngine(
                DeafCore(outside: outside, said: said), configuration: configuration,
                callersProgress: false, outside: outside)
            try engine.connect([1: []], deadline: Deadline(.seconds(1), "join", clock: time.clock))
        }

        var put: Put {
            unsafe Put(
                rank: 1, source: nil, byteCount: 0, window: 0, offset: 0, signal: 0, value: 1)
        }
    }

    @Test func `a remote rank that is silent is lost after the silence limit`() throws {
        let setup = try Setup()
        setup.time.advance(by: .milliseconds(4900))
        #expect(setup.lost.ranks.isEmpty)
        setup.time.advance(by: .milliseconds(1300))
        #expect(setup.lost.ranks == [1])
        #expect(setup.lost.ending(waitFor: [1])?.cause == "silent for 5.0 seconds")
        // Eight heartbeats in each silence limit, and none to a rank that is lost.
        let count = setup.said.count(of: .heartbeat)
        #expect((8 ... 10).contains(count), "\(count)")
        setup.engine.vanish()
    }

    @Test func `a flush that nothing completes ends at its deadline`() throws {
        let setup = try Setup()
        try setup.engine.put(setup.put)
        let endings = ThreadResults<Void>(count: 1)
        setup.time.run(threads: 1) { _ in
            endings.store(0) { () throws(TransportError) in
                try setup.engine.flush(
                    deadline: Deadline(.seconds(2), "flush", clock: setup.time.clock))
            }
        }
        #expect(throws: TransportError.deadline(nil, phase: "flush", limit: .seconds(2))) {
            _ = try endings.all()
        }
        setup.engine.vanish()
    }

    @Test func `a rank that leaves waits a second for acknowledgements`() throws {
        let setup = try Setup()
        let begin = setup.time.nanoseconds
        setup.time.run(threads: 1) { _ in setup.engine.close(suspect: nil) }
        let spent = setup.time.nanoseconds - begin
        #expect((1_000_000_000 ... 1_001_000_000).contains(spent), "\(spent)")
        #expect(setup.said.count(of: .goodbye) == 1)
    }
}
