import Synchronization
import Testing
import Topology

@testable import Transport

@Suite struct LoopbackTests {
    @Test func `a put arrives before its signal`() throws {
        let fabrics = try makeLoopbackFabrics(rankCount: 3)
        try onEveryRank(fabrics) { fabric in
            let deadline = Deadline(.seconds(10), "test")
            let window = try fabric.makeWindow(
                name: "mail", byteCount: 4096, signalCount: 4, stagingByteCount: 64,
                deadline: deadline)
            window.withStaging(0 ..< 8) {
                $0.storeBytes(of: UInt64(fabric.rank.rawValue + 7), as: UInt64.self)
            }
            for peer in fabric.ranks {
                try window.put(
                    0 ..< 8, to: peer, at: fabric.rank.rawValue * 8, signal: fabric.rank.rawValue,
                    value: 1)
            }
            for peer in fabric.ranks {
                try window.wait(
                    signal: peer.rawValue, atLeast: 1, from: peer, deadline: deadline)
                let offset = peer.rawValue * 8
                let value = window.withBytes(offset ..< offset + 8) {
                    unsafe $0.unsafeLoad(as: UInt64.self)
                }
                #expect(value == UInt64(peer.rawValue + 7))
            }
            try fabric.barrier(deadline: deadline)
            fabric.close()
        }
    }
}

/// Runs `body` on a thread per fabric and rethrows the first error.
func onEveryRank(
    _ fabrics: [any Fabric], _ body: @escaping @Sendable (any Fabric) throws -> Void
) throws {
    let errors = Mutex<[any Error]>([])
    var threads: [FabricThread] = []
    for fabric in fabrics {
        threads.append(
            try FabricThread("rank") {
                do { try body(fabric) } catch { errors.withLock { $0.append(error) } }
            })
    }
    for thread in threads { thread.join() }
    if let error = errors.withLock({ $0.first }) { throw error }
}
