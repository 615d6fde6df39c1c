import TestSupport
import Testing
import Topology

@testable import Benchmarks
@testable import Transport

@Suite struct LinkMeasurementTests {
    @Test func `every pair of a small fabric is measured once`() throws {
        _ = try onRanks(3, nodes: [0, 0, 1]) { fabric in
            let measurement = try LinkMeasurement(fabric: fabric)
            var round = 0
            for first in fabric.ranks {
                for second in fabric.ranks where second > first {
                    round += 1
                    let figures = try measurement.measure(
                        (first, second), time: .milliseconds(2), round: round)
                    #expect((figures != nil) == (fabric.rank == first))
                    guard let figures else { continue }
                    #expect(figures.latencyMicroseconds > 0)
                    #expect(figures.bytesPerSecond > 0)
                }
            }
            fabric.close()
        }
    }
}
