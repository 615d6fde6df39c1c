import Testing
import Topology

@testable import Transport

@Suite struct PeerLivenessTests {
    /// What may happen to a rank with two connections, each at a second of its own.
    enum Event {
        case heard(Int)
        case goodbye(Int, suspect: Rank?)
        case acknowledged(Int)
        case ended
        case checked
        case abandoned
        /// The judge, which could not run since the event before, runs again.
        case gap
    }

    struct Case: CustomTestStringConvertible {
        let testDescription: String
        let events: [(second: UInt64, event: Event)]
        let actions: [PeerLiveness.Action]
        var isLive = true
        var hasAcknowledged = false
    }

    private static let silent = PeerLiveness.Action.lose(cause: "silent for 5.0 seconds")

    static let cases: [Case] = [
        Case(
            testDescription: "nothing within the limit", events: [(5, .checked)], actions: [.none]),
        Case(
            testDescription: "silence beyond the limit, once",
            events: [(6, .checked), (7, .checked), (8, .ended)], actions: [silent, .none, .none],
            isLive: false, hasAcknowledged: true),
        Case(
            testDescription: "silence of one connection of two",
            events: [(4, .heard(0)), (6, .checked)], actions: [.none, silent], isLive: false,
            hasAcknowledged: true),
        Case(
            testDescription: "bytes on both connections",
            events: [(4, .heard(0)), (5, .heard(1)), (9, .checked)],
            actions: [.none, .none, .none]),
        Case(
            testDescription: "a judge that could not run waits a limit more",
            events: [(60, .gap), (64, .checked), (66, .checked)],
            actions: [.none, .none, silent], isLive: false, hasAcknowledged: true),
        Case(
            testDescription: "a goodbye on one connection of two, then its end",
            events: [(1, .goodbye(0, suspect: nil)), (2, .ended)],
            actions: [.none, .lose(cause: "it ended")], isLive: false, hasAcknowledged: true),
        Case(
            testDescription: "a goodbye on both connections, then their end",
            events: [
                (1, .goodbye(0, suspect: nil)), (1, .goodbye(1, suspect: 2)), (2, .ended),
                (3, .ended),
            ],
            actions: [.none, .leave(suspect: 2), .abandon, .none], isLive: false,
            hasAcknowledged: true),
        Case(
            testDescription: "a rank that left is not lost by silence",
            events: [
                (1, .goodbye(0, suspect: nil)), (1, .goodbye(1, suspect: nil)), (60, .checked),
            ],
            actions: [.none, .leave(suspect: nil), .none]),
        Case(
            testDescription: "a goodbye said twice is noted once",
            events: [
                (1, .goodbye(0, suspect: nil)), (1, .goodbye(1, suspect: nil)),
                (1, .goodbye(1, suspect: nil)),
            ],
            actions: [.none, .leave(suspect: nil), .none]),
        Case(
            testDescription: "an acknowledgement on each connection",
            events: [(1, .acknowledged(0)), (1, .acknowledged(1))], actions: [.none, .none],
            hasAcknowledged: true),
        Case(
            testDescription: "an acknowledgement on one connection of two",
            events: [(1, .acknowledged(0))], actions: [.none]),
        Case(
            testDescription: "a rank that others gave up on",
            events: [(1, .abandoned), (2, .ended), (60, .checked)], actions: [.none, .none, .none],
            isLive: false, hasAcknowledged: true),
        Case(
            testDescription: "a connection that is not there",
            events: [(1, .heard(7)), (1, .goodbye(7, suspect: 1)), (1, .acknowledged(7))],
            actions: [.none, .none, .none]),
    ]

    @Test(arguments: cases)
    func `what happens to a rank decides what is done about it`(_ given: Case) {
        func nanoseconds(_ second: UInt64) -> UInt64 { (1000 + second) * 1_000_000_000 }
        var limit = SilenceLimit(.seconds(5), now: nanoseconds(0))
        var liveness = PeerLiveness(1)
        #expect(!liveness.isLive)
        liveness.connected(at: nanoseconds(0))
        liveness.connected(at: nanoseconds(0))
        var second: UInt64 = 0
        var actions: [PeerLiveness.Action] = []
        for (next, event) in given.events {
            var action = PeerLiveness.Action.none
            if case .gap = event { second = next - 1 }
            while second < next {
                second += 1
                limit.turn(at: nanoseconds(second))
            }
            switch event {
            case .heard(let connection): liveness.heard(on: connection, at: nanoseconds(next))
            case .goodbye(let connection, let suspect):
                action = liveness.saidGoodbye(on: connection, suspect: suspect)
            case .acknowledged(let connection): liveness.acknowledged(on: connection)
            case .ended: action = liveness.ended(cause: "it ended")
            case .checked: action = liveness.checked(at: nanoseconds(next), limit: limit)
            case .abandoned: liveness.abandoned()
            case .gap: break
            }
            actions.append(action)
        }
        #expect(actions == given.actions)
        #expect(liveness.isLive == given.isLive)
        #expect(liveness.hasAcknowledged == given.hasAcknowledged)
    }

    @Test func `a suspect is named by a word that is checked`() {
        for suspect: Rank? in [nil, 0, 3] {
            let word = SuspectWord.encode(suspect)
            #expect(SuspectWord.decode(word, own: 1, rankCount: 4) == suspect)
        }
        let word = SuspectWord.encode(1)
        #expect(SuspectWord.decode(word, own: 1, rankCount: 4) == nil)
        #expect(SuspectWord.decode(5, own: 1, rankCount: 4) == nil)
        #expect(SuspectWord.decode(.max, own: 1, rankCount: 4) == nil)
    }
}
