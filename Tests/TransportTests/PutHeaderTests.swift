import Testing
import Topology

@testable import Transport

@Suite struct PutHeaderTests {
    private func sample() -> PutHeader {
        var header = PutHeader(.put, source: 3, key: 0x1234_5678_9abc_def0)
        header.sequence = 7
        header.window = 2
        header.signal = 5
        header.offset = 100
        header.length = 28
        header.value = 99
        return header
    }

    @Test func `a header decodes to what was encoded`() {
        #expect(PutHeader(decoding: sample().encoded()) == sample())
    }

    @Test func `a header of another size, magic or kind is not one`() {
        var bytes = sample().encoded()
        #expect(PutHeader(decoding: Array(bytes.dropLast())) == nil)
        bytes[4] = 9
        #expect(PutHeader(decoding: bytes) == nil)
        bytes[4] = 1
        bytes[0] ^= 1
        #expect(PutHeader(decoding: bytes) == nil)
    }

    @Test func `what lies outside the window is a fault`() {
        let window = WindowSize(byteCount: 128, signalCount: 6)
        #expect(sample().fault(byteCount: 28, window: window) == nil)
        #expect(sample().fault(byteCount: 27, window: window) != nil)
        var far = sample()
        far.offset = 101
        #expect(far.fault(byteCount: 28, window: window) != nil)
        far.offset = .max
        #expect(far.fault(byteCount: 28, window: window) != nil)
        var signal = sample()
        signal.signal = 6
        #expect(signal.fault(byteCount: 28, window: window) != nil)
    }

    @Test func `lanes of an endpoint are named once each`() {
        let text = """
            #               lane[0]:  2:tcp/plane0.0 md[1]  -> md[1]/tcp/sysdev[255] rma_bw#0 am
            #               lane[1]:  4:tcp/plane1.0 md[1]  -> md[1]/tcp/sysdev[255] rma_bw#1
            #                 tag_send: 0..<egr/short>..8184..<rndv>..(inf)
            """
        #expect(EndpointInfo.transports(in: text) == "tcp/plane0,tcp/plane1")
    }
}
