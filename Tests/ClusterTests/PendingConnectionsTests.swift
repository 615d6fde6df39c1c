import Testing

@testable import Cluster

@Suite struct PendingConnectionsTests {
    @Test func `below the limits nobody has to go`() {
        var pending = PendingConnections<Int>(limit: 4, limitPerAddress: 2)
        for (id, address) in ["a", "a", "b", "b"].enumerated() {
            #expect(pending.add(id, from: address) == nil)
        }
        #expect(pending.count == 4)
    }

    @Test func `one address keeps to its share, and loses its own oldest`() {
        var pending = PendingConnections<Int>(limit: 4, limitPerAddress: 2)
        _ = pending.add(1, from: "a")
        _ = pending.add(2, from: "a")
        #expect(pending.add(3, from: "a") == 1)
        #expect(pending.add(4, from: "b") == nil)
        #expect(pending.count == 3)
    }

    @Test func `when all places are taken the address with the most loses one`() {
        var pending = PendingConnections<Int>(limit: 4, limitPerAddress: 3)
        for (id, address) in ["b", "a", "a", "a"].enumerated() {
            #expect(pending.add(id, from: address) == nil)
        }
        #expect(pending.add(4, from: "c") == 1)
        #expect(pending.count == 4)
    }

    @Test func `a connection that greeted outlasts silent ones`() {
        var pending = PendingConnections<Int>(limit: 8, limitPerAddress: 2)
        _ = pending.add(1, from: "a")
        pending.greeted(1)
        _ = pending.add(2, from: "a")
        #expect(pending.add(3, from: "a") == 2)
        pending.greeted(3)
        // Where all greeted, the oldest goes.
        #expect(pending.add(4, from: "a") == 1)
    }

    @Test func `a place is free again when its connection proved itself or closed`() {
        var pending = PendingConnections<Int>(limit: 1, limitPerAddress: 1)
        _ = pending.add(1, from: "a")
        pending.remove(1)
        #expect(pending.add(2, from: "a") == nil)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `whatever comes, no limit is passed`(seed: UInt64) {
        var random = Sequence64(state: seed)
        var pending = PendingConnections<Int>(limit: 10, limitPerAddress: 4)
        var living: [Int: String] = [:]
        for id in 0 ..< 2000 {
            let address = "\(Int.random(in: 0 ..< 5, using: &random))"
            living[id] = address
            if let evicted = pending.add(id, from: address) {
                #expect(living.removeValue(forKey: evicted) != nil, "seed \(seed)")
            }
            if random.next() % 3 == 0, let gone = living.keys.min() {
                pending.remove(gone)
                living[gone] = nil
            }
            #expect(pending.count == living.count && living.count <= 10, "seed \(seed)")
            #expect(living.values.count { $0 == address } <= 4, "seed \(seed)")
        }
    }
}

@Suite struct RejectionLogTests {
    @Test func `the first rejected connections are named, and the rest is one line`() {
        var log = RejectionLog()
        var lines: [String] = []
        for number in 0 ..< 1000 {
            lines += log.rejected("10.0.0.\(number % 9)", "did not greet", now: .seconds(1))
        }
        #expect(lines.count == RejectionLog.linesPerInterval)
        #expect(lines[0] == "a connection from 10.0.0.0 did not greet")
        #expect(log.passed(.seconds(10)).isEmpty)
        let rest = log.passed(.seconds(11))
        #expect(rest.count == 1)
        #expect(rest[0].hasPrefix("995 more connections were rejected within 10.0 s; the last:"))
        #expect(log.passed(.seconds(30)).isEmpty)
        #expect(log.rejected("a", "b", now: .seconds(31)).count == 1)
    }

    @Test func `one hour of a connection a millisecond is few lines`() {
        var log = RejectionLog()
        var lines = 0
        for millisecond in 0 ..< 3_600_000 {
            lines += log.rejected("a", "b", now: .milliseconds(millisecond)).count
        }
        #expect(lines <= 360 * (RejectionLog.linesPerInterval + 1))
    }
}
