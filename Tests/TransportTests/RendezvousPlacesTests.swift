import Glibc
import Synchronization
import Testing
import Topology

@testable import Transport

/// The few places that a rendezvous has for connections that have not proved themselves.
@Suite struct RendezvousPlacesTests {
    @Test func `a rank that comes while every place is taken waits for one`() throws {
        let soon = Deadline(.seconds(10), "join")
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 1, token: "secret")
        let endpoint = try NetworkEndpoint(server.address)
        var silent: [StreamSocket] = []
        for _ in 0 ..< 64 {
            let socket = try StreamSocket.connect(to: endpoint, deadline: soon)
            // Who is greeted has a place.
            _ = try socket.receiveAll(RendezvousGreeting.byteCount, deadline: soon)
            silent.append(socket)
        }
        let outcome = Mutex<Result<Void, any Error>?>(nil)
        let thread = try FabricThread("rank") {
            let result = Result {
                try TCPExchange.connect(
                    to: server.address, rank: 0, rankCount: 1, token: "secret", deadline: soon
                ).close()
            }
            outcome.withLock { $0 = result }
        }
        usleep(100_000)
        silent.removeLast()
        thread.join()
        try #require(outcome.withLock { $0 }).get()
        server.close()
    }
}
