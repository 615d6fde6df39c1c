import Foundation
import Testing

@testable import Serving

/// Clocks of other machines, whose truth the test knows.
@Suite struct ClockReadingTests {
    /// A machine whose clock runs ahead and drifts, behind a network with delays of its own.
    private struct Machine {
        let ahead: Double
        let drift: Double
        var numbers: Numbers

        /// What it shows at one of our times, in nanoseconds.
        func shows(_ ours: Double) -> UInt64 { UInt64(ours + ahead + ours * drift) }

        /// A round trip whose ways take up to 2 ms each.
        mutating func read(at sent: Double) -> ClockReading {
            let there = Double(numbers.next() % 2_000_000)
            let back = Double(numbers.next() % 2_000_000)
            return ClockReading(
                sent: UInt64(sent), received: UInt64(sent + there + back),
                theirs: shows(sent + there))
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8])
    func `the truth lies within the bound of the best reading`(seed: UInt64) throws {
        var machine = Machine(ahead: 7e15, drift: 0, numbers: Numbers(state: seed))
        let readings = (0 ..< 8).map { machine.read(at: 1e12 + Double($0) * 1e7) }
        let best = try #require(ClockReading.best(of: readings))
        #expect(abs(Double(best.offset) - 7e15) <= Double(best.bound) + 1)
        #expect(readings.allSatisfy { $0.bound >= best.bound })
    }

    @Test(arguments: [-200e-6, 0, 50e-6, 200e-6])
    func `times between two readings are placed within the bound, however the clock drifts`(
        drift: Double
    ) throws {
        var machine = Machine(ahead: -3e11, drift: drift, numbers: Numbers(state: 9))
        let begin = 1e12
        let fit = ClockFit(
            first: machine.read(at: begin), last: machine.read(at: begin + 60e9))
        for second in 0 ... 60 {
            let truth = begin + Double(second) * 1e9
            let placed = fit.ours(machine.shows(truth))
            // Doubles of 1e12 are exact to less than a nanosecond; drift itself drifts by 12 us.
            #expect(abs(Double(placed) - truth) <= Double(fit.bound) + 12_000, "\(second) s")
        }
    }

    @Test func `an answer that seems to come before its question took no time`() {
        let reading = ClockReading(sent: 2000, received: 1000, theirs: 5)
        #expect(reading == ClockReading(sent: 2000, received: 2000, theirs: 5))
        #expect(reading.bound == 0)
    }

    @Test func `no number that a rank may send is a trap`() {
        let numbers: [UInt64] = [0, 1, 1 << 62, UInt64(Int64.max), 1 << 63, .max]
        for first in numbers {
            for last in numbers {
                let fit = ClockFit(
                    first: ClockReading(sent: 1000, received: 2000, theirs: first),
                    last: ClockReading(sent: 3000, received: 4000, theirs: last))
                var rank = JobTrace.Rank(rank: 0, clock: fit)
                rank.events = numbers.map {
                    RankEvent(
                        kind: .step, began: $0, ended: .max, step: .max, number: .max,
                        peer: 65_534, rows: Int(UInt32.max), parts: 255)
                }
                let trace = JobTrace(seconds: 1, start: 1500, date: .now, ranks: [rank])
                #expect(throws: Never.self) { try trace.json() }
                #expect(fit.bound == 500)
            }
        }
    }
}
