import Foundation
import Testing
import Topology

@testable import Transport

/// Not inside a child, which would start children of its own.
@Suite(.enabled(if: ChildRoles.role == nil), .serialized)
struct SharedMemoryTests {
    @Test func `processes of one node exchange blocks through shared memory`() throws {
        try withChildren("exchange", rankCount: 3) { children in
            for rank in 0 ..< 3 {
                #expect(
                    children.waits(for: "ROLE DONE", rank: rank), "\(children.output(of: rank))")
                #expect(!children.output(of: rank).contains("WRONG"))
                #expect(children.output(of: rank).contains("to rank \((rank + 1) % 3): shm"))
            }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm")
        #expect(!left.contains { $0.hasPrefix("apus") })
    }

    @Test(arguments: [SIGKILL, SIGSTOP])
    func `a killed or stopped rank is named by every survivor`(signal: Int32) throws {
        try withChildren("ring", rankCount: 4) { children in
            for rank in 0 ..< 4 { #expect(children.waits(for: "RING RUNS", rank: rank)) }
            children.send(signal, to: 2)
            for rank in [0, 1, 3] {
                let isNamed = children.waits(
                    for: "ROLE FAILED: rank 2 left during ring", rank: rank, limit: .seconds(4))
                #expect(isNamed, "\(children.output(of: rank))")
            }
        }
    }

    @Test func `memory of a rank whose process has ended names the rank`() throws {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/true")
        try process.run()
        process.waitUntilExit()
        let ended = process.processIdentifier
        let error = try #require(throws: TransportError.self) {
            _ = try Region(of: 2, process: ended, descriptor: 5, byteCount: 64)
        }
        #expect(error.rank == 2 && error.description.contains("has ended"), "\(error)")
        // One that lives and holds nothing there is not lost.
        let other = try #require(throws: TransportError.self) {
            _ = try Region(of: 2, process: getpid(), descriptor: 1 << 20, byteCount: 64)
        }
        #expect(other.rank == nil && other.description.contains("open /proc/"), "\(other)")
    }
}
