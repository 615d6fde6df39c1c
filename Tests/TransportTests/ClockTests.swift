import Testing
import Topology
import TransportTesting

@testable import Transport

@Suite struct ClockTests {
    private func fabrics(_ time: ManualClock) throws -> [any Fabric] {
        try makeLoopbackFabrics(rankCount: 3) { $0.clock = time.clock }
    }

    private func lost(_ fabrics: [any Fabric]) -> [[Rank]] { fabrics.map(\.lostRanks) }

    @Test func `a silent rank is lost after the silence limit, and not before`() throws {
        let time = ManualClock()
        let fabrics = try fabrics(time)
        time.advance(by: .seconds(60))
        #expect(lost(fabrics) == [[], [], []])
        fabrics[2].vanish()
        time.advance(by: .milliseconds(4900))
        #expect(lost(fabrics) == [[], [], []])
        // The next heartbeat but one of each rank is the first to see more than 5 s of silence.
        time.advance(by: .milliseconds(1100))
        #expect(lost(fabrics) == [[2], [2], []])
        for fabric in fabrics { fabric.close() }
    }

    @Test func `ranks that were suspended together lose nobody`() throws {
        let time = ManualClock()
        let fabrics = try fabrics(time)
        time.jump(by: .seconds(3600))
        time.advance(by: .seconds(60))
        #expect(lost(fabrics) == [[], [], []])
        for fabric in fabrics { fabric.close() }
    }

    @Test func `after a suspension a dead rank gets one more silence limit`() throws {
        let time = ManualClock()
        let fabrics = try fabrics(time)
        fabrics[2].vanish()
        time.jump(by: .seconds(3600))
        time.advance(by: .milliseconds(4900))
        #expect(lost(fabrics) == [[], [], []])
        time.advance(by: .milliseconds(1100))
        #expect(lost(fabrics) == [[2], [2], []])
        for fabric in fabrics { fabric.close() }
    }

    @Test func `a deadline passes when its clock says so`() {
        let time = ManualClock()
        let deadline = Deadline(.seconds(5), "test", clock: time.clock)
        time.advance(by: .milliseconds(4999))
        #expect(!deadline.hasPassed)
        #expect(deadline.remaining == .milliseconds(1))
        time.advance(by: .milliseconds(1))
        #expect(deadline.hasPassed)
        #expect(deadline.remaining == .zero)
        #expect(!deadline.later(by: .seconds(1)).hasPassed)
    }

    @Test(arguments: FabricConfiguration.Transport.allCases)
    func `virtual time is refused where the kernel carries bytes`(
        transport: FabricConfiguration.Transport
    ) {
        var configuration = FabricConfiguration(rank: 0, rankCount: 1, transport: transport)
        configuration.clock = ManualClock().clock
        var message = ""
        do { try configuration.validate() } catch { message = "\(error)" }
        #expect(message.hasPrefix("virtual time needs") == (transport != .loopback), "\(message)")
    }
}
