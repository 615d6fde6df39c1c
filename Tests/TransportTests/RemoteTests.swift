import Foundation
import Testing
import Topology

@testable import Transport

/// Not inside a child, which would start children of its own.
@Suite(.enabled(if: ChildRoles.role == nil), .serialized)
struct RemoteTests {
    @Test(arguments: [("tcp", "tcp:"), ("ucx", "ucx:tcp/")])
    func `puts between processes land in place before their signals`(
        transport: String, path: String
    ) throws {
        try withChildren("exchange", rankCount: 3, extra: ["APUS_TEST_TRANSPORT": transport]) {
            children in
            for rank in 0 ..< 3 {
                let isDone = children.waits(for: "ROLE DONE", rank: rank)
                let output = children.output(of: rank)
                #expect(isDone, "\(output)")
                #expect(!output.contains("WRONG"))
                #expect(output.contains("to rank \((rank + 1) % 3): \(path)"), "\(output)")
            }
        }
    }

    @Test func `16 ranks on few cores exchange over sockets without a stall`() throws {
        // Sixteen programs that start on two cores may be silent for more than a second.
        let extra = ["APUS_TEST_TRANSPORT": "tcp", "APUS_TEST_SILENCE": "20"]
        try withChildren("exchange", rankCount: 16, extra: extra) { children in
            for rank in 0 ..< 16 {
                let limit: Duration = rank == 0 ? .seconds(60) : .seconds(5)
                let isDone = children.waits(for: "ROLE DONE", rank: rank, limit: limit)
                #expect(isDone, "\(children.output(of: rank))")
                #expect(!children.output(of: rank).contains("WRONG"))
            }
        }
    }

    @Test func `stores inside a node and sockets between nodes make one fabric`() throws {
        let extra = ["APUS_TEST_NODES": "0,0,1,1"]
        try withChildren("exchange", rankCount: 4, extra: extra) { children in
            for rank in 0 ..< 4 {
                let isDone = children.waits(for: "ROLE DONE", rank: rank)
                #expect(isDone, "\(children.output(of: rank))")
                #expect(!children.output(of: rank).contains("WRONG"))
            }
            #expect(children.output(of: 0).contains("to rank 1: shm"))
            #expect(children.output(of: 0).contains("to rank 2: tcp:"))
        }
    }

    @Test func `two planes carry one put, and its signal comes last`() throws {
        // One device named twice is two planes, on every machine.
        let extra = ["APUS_TEST_TRANSPORT": "tcp", "APUS_TEST_DEVICE": "lo,lo"]
        try withChildren("exchange", rankCount: 3, extra: extra) { children in
            for rank in 0 ..< 3 {
                let isDone = children.waits(for: "ROLE DONE", rank: rank)
                let output = children.output(of: rank)
                #expect(isDone, "\(output)")
                #expect(!output.contains("WRONG"))
                #expect(output.contains("to rank \((rank + 1) % 3): tcp:lo,lo"), "\(output)")
            }
        }
    }

    @Test(arguments: [SIGKILL, SIGSTOP], ["tcp", "ucx"])
    func `a killed or stopped rank is named`(signal: Int32, transport: String) throws {
        try withChildren("ring", rankCount: 3, extra: ["APUS_TEST_TRANSPORT": transport]) {
            children in
            for rank in 0 ..< 3 { #expect(children.waits(for: "RING RUNS", rank: rank)) }
            children.send(signal, to: 1)
            for rank in [0, 2] {
                let isNamed = children.waits(
                    for: "ROLE FAILED: rank 1 left during", rank: rank, limit: .seconds(4))
                #expect(isNamed, "\(children.output(of: rank))")
            }
        }
    }

    @Test(arguments: ["tcp", "ucx"])
    func `a device that is not here is named`(transport: String) throws {
        let extra = ["APUS_TEST_TRANSPORT": transport, "APUS_TEST_DEVICE": "plane9"]
        try withChildren("exchange", rankCount: 2, extra: extra) { children in
            for rank in 0 ..< 2 {
                let isNamed = children.waits(
                    for: "ROLE FAILED: no network device plane9", rank: rank)
                #expect(isNamed, "\(children.output(of: rank))")
            }
        }
    }
}
