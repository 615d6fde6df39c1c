import Foundation
import Synchronization
import Testing
import Topology

@testable import Serving

/// Texts of a rank that is gone, dealt to the others.
@Suite struct TextDealerTests {
    private static func text(
        _ id: UInt64, _ prompt: [Int], told: Int = 0, salt: UInt64 = 0
    ) -> TextDealer.Text {
        var request = GenerationRequest(
            id: RequestID(rawValue: id), prompt: prompt, maxNewTokens: 8)
        request.cacheSalt = salt
        return TextDealer.Text(
            request, told: Resumption(hasBegun: true, tokens: Array(repeating: 7, count: told)))
    }

    /// Where each text goes, in the order of `moving`.
    private static func dealt(
        _ moving: [TextDealer.Text], held: [[TextDealer.Text]], among ranks: [Int]
    ) -> [Int?] {
        var dealer = TextDealer(moving, held: held)
        var places: [RequestID: Int] = [:]
        for text in TextDealer.order(moving) { places[text.id] = dealer.deal(text, among: ranks) }
        return moving.map { places[$0.id] }
    }

    @Test func `what is computed again is spread by tokens, not by texts`() {
        let lengths = [900, 100, 100, 100, 300, 300]
        let moving = lengths.enumerated().map {
            Self.text(UInt64($0), (0 ..< $1).map { [offset = $0] in $0 * 10 + offset })
        }
        let places = Self.dealt(moving, held: [[], [], []], among: [1, 2])
        let rows = [1, 2].map { rank in
            zip(places, lengths).filter { $0.0 == rank }.reduce(0) { $0 + $1.1 }
        }
        #expect(rows == [900, 900])
    }

    @Test func `a rank that has texts gets fewer, and the answer so far counts as the prompt`() {
        let held = [[], [Self.text(10, [1]), Self.text(11, [2])], []]
        let moving = (0 ..< 4).map { Self.text(UInt64($0), [3, Int($0)], told: 98) }
        let places = Self.dealt(moving, held: held, among: [1, 2])
        #expect(places.count { $0 == 1 } == 1 && places.count { $0 == 2 } == 3)
    }

    @Test func `a text goes where its beginning is computed, unless that rank has more to do`() {
        let shared = Array(0 ..< 640)
        let held = [[], [Self.text(10, shared + [1])], [Self.text(11, [5])]]
        func places(_ moving: [TextDealer.Text]) -> [Int?] {
            Self.dealt(moving, held: held, among: [1, 2])
        }
        let two = (0 ..< 2).map { Self.text(UInt64($0), shared + [2, $0]) }
        #expect(places(two) == [1, 1])
        // Of another key nothing is found, and of a text that has not begun neither.
        #expect(places([Self.text(0, shared, salt: 1), Self.text(1, shared, salt: 1)]) == [1, 2])
        let waiting = GenerationRequest(
            id: RequestID(rawValue: 12), prompt: shared, maxNewTokens: 1)
        let idle = [[], [TextDealer.Text(waiting, told: Resumption())], [Self.text(11, [5])]]
        #expect(Self.dealt(two, held: idle, among: [1, 2]) == [1, 2])
    }

    @Test func `with no rank left nothing is dealt`() {
        #expect(Self.dealt([Self.text(0, [1])], held: [[]], among: []) == [nil])
    }

    @Test func `a spare rank that inherits the cores of one that is gone shares its texts`()
        async throws
    {
        // Two cores: ranks 2 and 3 are spare until rank 0 leaves.
        let sent = Mutex<[Int: Int]>([:])
        let router = LeastLoadedRouter(rankCount: 5) { rank, bytes in
            let command = try? JSONDecoder().decode(EngineCommand.self, from: Data(bytes))
            if case .submit = command { sent.withLock { $0[rank.rawValue, default: 0] += 1 } }
        }
        for rank in 0 ..< 5 {
            // Rank 4 is spare on another machine, whose ranks all live.
            var capacity = EngineCapacity(
                number: rank, threads: 1, cores: 2, runningLimit: 64, node: rank == 4 ? 1 : 0)
            capacity.isSpare = rank >= 2
            let message = try JSONEncoder().encode(EngineMessage.capacity(capacity))
            try router.receive(Array(message), from: Rank(rawValue: rank))
        }
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        for number in 0 ..< 12 {
            let request = GenerationRequest(
                id: RequestID(rawValue: UInt64(number)), prompt: [1], maxNewTokens: 1)
            streams.append(try await router.submit(request))
        }
        #expect(sent.withLock { $0 } == [0: 6, 1: 6])
        router.goOn(withoutDrained: 0, recovering: [1, 2, 3, 4])
        #expect(sent.withLock { $0 } == [0: 6, 1: 6, 2: 6])
        withExtendedLifetime(streams) {}
    }
}
