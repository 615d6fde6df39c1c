import Testing
import Topology

@testable import Transport

/// What of verbs needs no device; the rest runs in a virtual machine (make test-rdma).
@Suite struct VerbsTests {
    @Test func `a greeting decodes to what was encoded, padded or not`() throws {
        let greeting = VerbsGreeting(
            rank: 3, key: 0x1234_5678_9abc_def0, mailboxAddress: 1 << 40, mailboxKey: 77)
        #expect(greeting.encoded().count == VerbsGreeting.byteCount)
        #expect(try VerbsGreeting(decoding: greeting.encoded()) == greeting)
        let padded = greeting.encoded() + [UInt8](repeating: 0, count: 28)
        #expect(try VerbsGreeting(decoding: padded) == greeting)
    }

    @Test func `a greeting that is short or of another magic is malformed`() {
        let greeting = VerbsGreeting(rank: 0, key: 1, mailboxAddress: 2, mailboxKey: 3)
        #expect(throws: TransportError.self) {
            try VerbsGreeting(decoding: Array(greeting.encoded().dropLast()))
        }
        #expect(throws: TransportError.self) {
            try VerbsGreeting(decoding: [0] + greeting.encoded().dropFirst())
        }
        #expect(throws: TransportError.self) { try VerbsGreeting(decoding: []) }
    }

    @Test(.enabled(if: VerbsDevices.ports().isEmpty))
    func `without an RDMA device transport rdma says so`() throws {
        let error = #expect(throws: TransportError.self) {
            _ = try makeLoopbackFabrics(rankCount: 2) { $0.transport = .rdma }
        }
        #expect("\(error!)".contains("no RDMA device"))
    }
}
