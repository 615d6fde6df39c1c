import Models
import Testing

@testable import Serving

@Suite struct OverlapTests {
    private static func entry(
        _ id: UInt64, _ count: Int, start: Int = 0, drafts: Int = 0
    ) -> StepEntry {
        StepEntry(
            id: RequestID(rawValue: id), tokens: (0 ..< count).map { 100 * Int(id) + $0 },
            draftCount: drafts, start: start, reachesEnd: true, blocks: [BlockID(rawValue: 0)])
    }

    @Test func `a prompt is cut where the first half of the tokens ends`() {
        let (first, second) = StepEntry.halves(of: [
            Self.entry(1, 1, start: 9), Self.entry(2, 8, start: 64), Self.entry(3, 3),
        ])
        #expect(first.map(\.tokens) == [[100], [200, 201, 202, 203, 204]])
        #expect(second.map(\.tokens) == [[205, 206, 207], [300, 301, 302]])
        #expect(first.map(\.start) == [9, 64])
        #expect(second.map(\.start) == [69, 0])
        #expect(first.map(\.reachesEnd) == [true, false])
        #expect(second.map(\.reachesEnd) == [true, true])
    }

    @Test func `a token and its draft stay together, and nothing is lost`() {
        for count in 1 ... 9 {
            let entries = (0 ..< count).map {
                Self.entry(UInt64($0), $0 % 3 == 2 ? 5 : 1 + $0 % 3, drafts: $0 % 3 == 1 ? 1 : 0)
            }
            let (first, second) = StepEntry.halves(of: entries)
            #expect((first + second).flatMap(\.tokens) == entries.flatMap(\.tokens))
            #expect((first + second).filter { $0.draftCount > 0 }.allSatisfy { $0.tokenCount == 2 })
            let counts = [first, second].map { $0.reduce(0) { $0 + $1.tokenCount } }
            #expect(abs(counts[0] - counts[1]) <= 2, "\(count) entries: \(counts)")
        }
    }

    @Test func `spans that overlap are counted once`() {
        #expect(StepTime.union([]) == 0)
        let spans: [Range<UInt64>] = [50 ..< 60, 0 ..< 10, 5 ..< 20, 6 ..< 8, 60 ..< 61]
        #expect(StepTime.union(spans) == 31e-9)
    }

    /// Seconds of a step of some size, whole and split.
    private struct Machine {
        var whole: Double
        var split: Double
        var exposed = 0.5

        /// Which of many steps were split.
        func run(_ choice: inout OverlapTuner, tokens: Int, steps: Range<UInt64>) -> [Bool] {
            steps.map { step in
                let splits = choice.splits(tokens: tokens, step: step)
                choice.note(
                    tokens: tokens, seconds: splits ? split : whole,
                    exposed: splits ? 0 : exposed * whole, wasSplit: splits)
                return splits
            }
        }
    }

    @Test func `steps that are faster split stay split, others are tried once in a while`() {
        var choice = OverlapTuner(threshold: 0.1)
        let prompts = Machine(whole: 1, split: 0.7)
            .run(&choice, tokens: 512, steps: 0 ..< 640)
        #expect(prompts.count { $0 } == 640 - 10)
        let streams = Machine(whole: 1, split: 1.3).run(&choice, tokens: 8, steps: 0 ..< 640)
        #expect(streams.count { $0 } == 1 + 10)
    }

    @Test func `a choice follows a machine that changes`() {
        var choice = OverlapTuner(threshold: 0.1)
        _ = Machine(whole: 1, split: 0.7).run(&choice, tokens: 64, steps: 0 ..< 640)
        let later = Machine(whole: 1, split: 1.5).run(&choice, tokens: 64, steps: 640 ..< 1280)
        #expect(later.suffix(320).count { $0 } <= 5)
    }

    @Test func `travel that hardly shows is not hidden, and one token is never split`() {
        var choice = OverlapTuner(threshold: 0.1)
        let quiet = Machine(whole: 1, split: 0.9, exposed: 0.05)
            .run(&choice, tokens: 512, steps: 0 ..< 640)
        #expect(!quiet.contains(true))
        #expect(!choice.splits(tokens: 1, step: 7))
        #expect(!choice.splits(tokens: 0, step: 7))
        #expect(OverlapTuner(threshold: 0).splits(tokens: 2, step: 0))
    }
}

@Suite struct DraftTunerTests {
    /// Which of many steps drafted, where drafting steps take `cost` times as long and bring
    /// `tokens` tokens.
    private func run(
        _ choice: inout DraftTuner, cost: Double, tokens: Int, steps: Int
    ) -> [Bool] {
        (0 ..< steps).map { _ in
            let drafts = choice.drafts(streams: 1)
            choice.note(
                streams: 1, seconds: drafts ? cost : 1, tokens: drafts ? tokens : 1,
                drafted: drafts)
            return drafts
        }
    }

    @Test func `drafting goes on where it brings more tokens than it costs`() {
        var choice = DraftTuner()
        let drafted = run(&choice, cost: 1.5, tokens: 2, steps: 4096)
        // One trial without, then a trial every 1024 steps.
        #expect(drafted.count { !$0 } == 4 * 32)
    }

    @Test func `drafting ends where it costs more than it brings`() {
        var choice = DraftTuner()
        let drafted = run(&choice, cost: 2.5, tokens: 2, steps: 4096)
        #expect(drafted.count { $0 } == 64 + 3 * 32)
    }

    @Test func `drafting begins again when it pays`() {
        var choice = DraftTuner()
        _ = run(&choice, cost: 2.5, tokens: 2, steps: 2048)
        let later = run(&choice, cost: 1.2, tokens: 2, steps: 4096)
        #expect(later.suffix(1024).count { $0 } >= 1024 - 32)
    }
}

@Suite struct SharingTunerTests {
    /// Which of many steps of one token were shared, where those take `cost` times as long.
    private func run(_ tuner: inout SharingTuner, cost: Double, steps: Range<UInt64>) -> [Bool] {
        steps.map { step in
            let shares = tuner.shares(tokens: 1, step: step)
            tuner.note(tokens: 1, seconds: shares ? cost : 1, wasShared: shares)
            return shares
        }
    }

    @Test func `a node computes together where that is faster, and alone now and then`() {
        var tuner = SharingTuner()
        let shared = run(&tuner, cost: 0.7, steps: 0 ..< 640)
        // The first step of all is shared, though it would explore.
        #expect(shared.count { !$0 } == 9)
    }

    @Test func `a rank computes alone where its node is slower, and asks again`() {
        var tuner = SharingTuner()
        let shared = run(&tuner, cost: 1.5, steps: 0 ..< 640)
        // Together until the first exploration, and once in each period after it.
        #expect(shared[..<64].allSatisfy { $0 } && !shared[64])
        #expect(shared[65...].count { $0 } == 8)
        let later = run(&tuner, cost: 0.5, steps: 640 ..< 1280)
        #expect(later.suffix(128).count { $0 } >= 126)
    }

    @Test func `sizes are learned apart, and no tokens are never shared`() {
        var tuner = SharingTuner()
        _ = run(&tuner, cost: 1.5, steps: 0 ..< 128)
        #expect(!tuner.shares(tokens: 1, step: 129) && tuner.shares(tokens: 8, step: 129))
        #expect(!tuner.shares(tokens: 0, step: 129))
    }
}
