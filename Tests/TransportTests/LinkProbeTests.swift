import Testing
import Topology

@testable import Transport

@Suite struct LinkProbeTests {
    @Test func `a probe of loopback measures both directions and finds the largest packet`() throws
    {
        let listener = try LinkProbeListener(token: "secret")
        defer { listener.close() }
        let probe = try LinkProbe(port: listener.port, token: "secret", localAddress: "127.0.0.1")
        let found = try probe.measure(["127.0.0.1"], packetSizes: [9000, 1500])
        #expect((found.address, found.localAddress) == ("127.0.0.1", "127.0.0.1"))
        #expect(try #require(found.roundTripSeconds) > 0)
        #expect(try #require(found.forwardRate) > 0)
        #expect(try #require(found.backwardRate) > 0)
        #expect(!found.isForwardStuck && !found.isBackwardStuck)
        #expect((found.forwardPacketBytes, found.backwardPacketBytes) == (9000, 9000))
    }

    @Test func `a packet larger than IPv4 has is not found to pass`() throws {
        let listener = try LinkProbeListener(token: "secret")
        defer { listener.close() }
        let probe = try LinkProbe(port: listener.port, token: "secret", localAddress: nil)
        let found = try probe.measure(["127.0.0.1"], packetSizes: [65_600, 1280])
        #expect((found.forwardPacketBytes, found.backwardPacketBytes) == (1280, 1280))
    }

    @Test func `a probe without the token gets nothing, and the listener serves the next`() throws {
        let listener = try LinkProbeListener(token: "secret")
        defer { listener.close() }
        let other = try LinkProbe(port: listener.port, token: "other", localAddress: nil)
        #expect(throws: TransportError.self) {
            try other.measure(["127.0.0.1"], packetSizes: [1500])
        }
        let endpoint = try NetworkEndpoint("127.0.0.1:\(listener.port)")
        let token = LinkProbeListener.bytes(of: "other")
        let packets = PacketProbe(endpoint, token: token, local: nil)
        #expect(packets?.passes(forward: 1280) == false)
        let probe = try LinkProbe(port: listener.port, token: "secret", localAddress: nil)
        #expect(try probe.measure(["127.0.0.1"], packetSizes: []).forwardRate != nil)
    }

    @Test func `the first address that answers is measured`() throws {
        let listener = try LinkProbeListener(token: "secret")
        defer { listener.close() }
        let probe = try LinkProbe(port: listener.port, token: "secret", localAddress: nil)
        // A broadcast address refuses TCP at once.
        let found = try probe.measure(["255.255.255.255", "127.0.0.1"], packetSizes: [])
        #expect(found.address == "127.0.0.1")
    }

    @Test func `a port where nobody listens is an error with its address`() throws {
        // The listener goes at the end of the line.
        let port = try LinkProbeListener(token: "secret").port
        let probe = try LinkProbe(port: port, token: "secret", localAddress: nil)
        let error = #expect(throws: TransportError.self) {
            try probe.measure(["127.0.0.1"], packetSizes: [])
        }
        #expect("\(error!)".contains("127.0.0.1:\(port)"))
    }
}
