import Foundation
import Logging
import Synchronization
import Testing

@testable import Serving

/// What connections, bodies and slow work may take from others, as values without sockets.
@Suite struct ConnectionTests {
    static let now = ContinuousClock.now

    static func ledger(_ all: Int, _ perAddress: Int) -> ConnectionLedger<Int> {
        ConnectionLedger(ConnectionLedger.Limits(all: all, perAddress: perAddress))
    }

    @Test func `the longest idle connection of the address with the most makes room`() {
        var ledger = Self.ledger(4, 3)
        for (id, address) in [(1, "a"), (2, "b"), (3, "b"), (4, "b")] {
            let now = Self.now + .seconds(id)
            #expect(ledger.open(id, from: address, now: now) == .admitted(closing: nil))
        }
        #expect(ledger.open(5, from: "c", now: Self.now) == .admitted(closing: 2))
        #expect(ledger.count == 4)
    }

    @Test func `a connection with a request is never closed for another`() {
        var ledger = Self.ledger(2, 2)
        _ = ledger.open(1, from: "a", now: Self.now)
        _ = ledger.open(2, from: "b", now: Self.now)
        ledger.requestBegan(1)
        ledger.requestBegan(2)
        guard case .refused(let reason) = ledger.open(3, from: "c", now: Self.now) else {
            Issue.record("it was admitted")
            return
        }
        #expect(reason.contains("the limit is 2") && reason.contains("api.limits.connections"))
        ledger.requestEnded(2, now: Self.now)
        #expect(ledger.open(3, from: "c", now: Self.now) == .admitted(closing: 2))
    }

    @Test func `an address at its limit closes its own idle connections, or is refused`() {
        var ledger = Self.ledger(10, 2)
        _ = ledger.open(1, from: "a", now: Self.now)
        _ = ledger.open(2, from: "a", now: Self.now + .seconds(1))
        _ = ledger.open(3, from: "b", now: Self.now)
        #expect(ledger.open(4, from: "a", now: Self.now) == .admitted(closing: 1))
        ledger.requestBegan(2)
        ledger.requestBegan(4)
        guard case .refused(let reason) = ledger.open(5, from: "a", now: Self.now) else {
            Issue.record("it was admitted")
            return
        }
        #expect(reason.hasPrefix("a has 2 connections open"))
        ledger.close(2)
        #expect(ledger.open(5, from: "a", now: Self.now) == .admitted(closing: nil))
    }

    @Test func `places are never more than descriptors, and never all one address's`() {
        let places = ConnectionLedger<Int>.Limits(ServiceLimits(), descriptors: 900)
        #expect(places.all == 900 && places.perAddress == 675)
        let few = ConnectionLedger<Int>.Limits(ServiceLimits(), descriptors: -5)
        #expect(few.all == 1 && few.perAddress == 1)
        let many = ConnectionLedger<Int>.Limits(ServiceLimits(), descriptors: 1 << 20)
        #expect(many.all == 4096 && many.perAddress == 1024)
    }

    @Test(arguments: [
        ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("::1", "0:0:0:0::/64"),
        ("fd77::1", "fd77:0:0:0::/64"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("::", "0:0:0:0::/64"),
    ])
    func `an IPv6 network counts as one address`(text: String, name: String) {
        #expect(ClientAddress.name(of: text) == name)
    }

    @Test func `bodies are refused beyond their budget, and freed when they are dropped`() throws {
        var limits = ServiceLimits()
        limits.bodyBytesOfAll = 100
        limits.bodyBytesPerAddress = 60
        let budget = BodyBudget(limits)
        var first: BodyAccount? = budget.account(for: "a")
        try first?.take(50)
        let second = budget.account(for: "a")
        let mine = #expect(throws: APIError.self) { try second.take(11) }
        #expect(mine?.status == 429 && mine?.retryAfterSeconds == 1)
        #expect(mine?.message.contains("61 bytes: the limit is 60") == true)
        let other = budget.account(for: "b")
        try other.take(45)
        let all = #expect(throws: APIError.self) { try other.take(6) }
        #expect(all?.status == 503 && all?.message.contains("the limit is 100") == true)
        #expect(budget.count == 95)
        first = nil
        #expect(budget.count == 45)
        try second.take(11)
    }

    @Test func `addresses take turns in a lane`() async throws {
        let lane = WorkLane("test", niceness: 0)
        let order = TurnOrder()
        let gate = DispatchSemaphore(value: 0)
        async let first: Void = lane.run(for: "x") {
            order.add("x")
            gate.wait()
        }
        // Also where the test ends by an error: the first work would hold it for ever.
        defer { gate.signal() }
        try await Wait.until("the first work has the lane") { order.names == ["x"] }
        // All of these wait meanwhile, in the order in which they come.
        var tasks: [Task<Void, any Error>] = []
        for name in ["a1", "a2", "a3", "b1"] {
            tasks.append(
                Task { @Sendable in
                    try await lane.run(for: String(name.prefix(1))) { order.add(name) }
                })
            let count = tasks.count
            try await Wait.until("\(name) waits") { lane.waitingCount == count }
        }
        gate.signal()
        try await first
        for task in tasks { try await task.value }
        #expect(order.names == ["x", "a1", "b1", "a2", "a3"])
    }

    @Test func `what fails in a lane fails for its caller alone`() async throws {
        let lane = WorkLane("test", niceness: 5)
        await #expect(throws: APIError.self) {
            try await lane.run(for: "a") { throw APIError.invalid("no") }
        }
        let value = try await lane.run(for: "a") { 7 }
        #expect(value == 7)
    }
}

/// Who had a turn, in order.
private final class TurnOrder: Sendable {
    private let state = Mutex<[String]>([])

    var names: [String] { state.withLock { $0 } }

    func add(_ name: String) { state.withLock { $0.append(name) } }
}
