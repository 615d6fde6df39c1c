import Glibc
import Testing
import Topology

@testable import Transport

@Suite struct PathProbeTests {
    /// Both ends of a connection over loopback.
    private func connection() throws -> (StreamSocket, StreamSocket) {
        let listener = try StreamSocket.listen(on: try NetworkEndpoint("127.0.0.1:0"))
        let deadline = Deadline(.seconds(10), "test")
        let endpoint = try NetworkEndpoint("127.0.0.1:\(try listener.localPort())")
        let caller = try StreamSocket.connect(to: endpoint, deadline: deadline)
        _ = try listener.wait(for: POLLIN, deadline: deadline)
        return (caller, try #require(listener.accept()))
    }

    private func probe(_ socket: StreamSocket, _ limit: Duration) throws(TransportError) {
        try PathProbe.run(
            [SocketHandshake.Connection(remote: 1, plane: 0, device: "lo", socket: socket)],
            deadline: Deadline(limit, "join"))
    }

    @Test func `both ends find the path open, and take no byte of what follows`() throws {
        let (first, second) = try connection()
        let results = ThreadResults<[UInt8]>(count: 1)
        let thread = try FabricThread("other end") {
            results.store(0) { () throws(TransportError) in
                try self.probe(second, .seconds(10))
                let deadline = Deadline(.seconds(10), "test")
                try second.sendAll([1, 2, 3], deadline: deadline)
                return try second.receiveAll(2, deadline: deadline)
            }
        }
        try probe(first, .seconds(10))
        let deadline = Deadline(.seconds(10), "test")
        try first.sendAll([4, 5], deadline: deadline)
        #expect(try first.receiveAll(3, deadline: deadline) == [1, 2, 3])
        thread.join()
        #expect(try results.all() == [[4, 5]])
    }

    @Test func `an end that sends nothing is named when the join's time is over`() throws {
        let (first, second) = try connection()
        let error = #expect(throws: TransportError.self) { try probe(first, .milliseconds(200)) }
        #expect(error?.rank == 1)
        #expect("\(error!)".contains("0 of \(PathProbe.byteCount) bytes came over lo"))
        withExtendedLifetime(second) {}
    }

    @Test func `an end that closes is named at once`() throws {
        let (first, _) = try connection()
        let error = #expect(throws: TransportError.self) { try probe(first, .seconds(10)) }
        #expect(error?.rank == 1)
    }
}
