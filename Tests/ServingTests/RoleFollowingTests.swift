import Testing
import Topology

@testable import Serving

/// Groups that get the other role while they serve.
@Suite struct RoleFollowingTests {
    /// Rank 0 prefills; ranks 1 and 2 decode, each a group of its own. All are linked.
    private static func linked() throws -> HandoverRouting {
        var routing = HandoverRouting(
            try HandoverTests.groups(prefill: [1], decode: [1, 1]),
            rule: RoleRule(interval: .seconds(4), stepTokens: 16), firstNumber: 1)
        for rank in 0 ..< 3 { try link(&routing, routing.arrived(rank)) }
        return routing
    }

    /// Ranks make the links that they are told to.
    @discardableResult
    private static func link(
        _ routing: inout HandoverRouting, _ actions: [HandoverRouting.Action]
    ) throws -> [[Int]] {
        var members: [[Int]] = []
        for (rank, command) in actions {
            guard case .handover(.link(let order)) = command else { continue }
            let silent = routing.receive(.linked(order.number), from: rank).isEmpty
            #expect(silent)
            if order.place == 0 { members.append(order.members.map(\.rawValue)) }
        }
        return members
    }

    private static func place(
        _ routing: inout HandoverRouting, _ id: UInt64, decode: Int
    ) -> [HandoverRouting.Action] {
        var request = GenerationRequest(
            id: RequestID(rawValue: id), prompt: (0 ..< 300).map { ($0 + Int(id)) % 90 },
            maxNewTokens: 5)
        _ = routing.submitted(&request, to: decode)
        return routing.receive(.granted(request.id, start: 0), from: decode)
    }

    /// What follows the load until something happens, from a second on.
    private static func follow(
        _ routing: inout HandoverRouting, texts: [Int], from second: Int
    ) throws -> (change: RoleChange, actions: [HandoverRouting.Action]) {
        for second in second ..< second + 20 {
            let followed = routing.follow(
                texts: texts, slots: [8, 8, 8], now: .seconds(second))
            if let followed { return followed }
        }
        throw RouterError.nothingHappened
    }

    private enum RouterError: Error { case nothingHappened }

    @Test func `a rank that is to prefill gets no text, then prompts by links the other way`()
        throws
    {
        var routing = try Self.linked()
        #expect(Self.place(&routing, 1, decode: 1).map(\.rank) == [0])
        let begun = try Self.follow(&routing, texts: [0, 1, 1], from: 0)
        #expect(begun.change.ranks == [1] && begun.change.newRole == nil)
        #expect(begun.actions.isEmpty && routing.texts(of: [0, 1, 2]) == [2])
        #expect(routing.texts(of: [0, 1]) == [1] && routing.role(of: 1) == .decode)
        // Its text ends.
        let cancel = routing.ended(RequestID(rawValue: 1))
        #expect(cancel.map(\.rank) == [0])
        #expect(Self.place(&routing, 2, decode: 2).map(\.rank) == [0])
        let done = try Self.follow(&routing, texts: [0, 0, 1], from: 10)
        #expect(done.change.newRole == .prefill && routing.role(of: 1) == .prefill)
        #expect(routing.prefill == [0, 1] && routing.decode == [2])
        let unlinked = done.actions.filter {
            if case .handover(.unlink) = $0.command { return true }
            return false
        }
        #expect(unlinked.map(\.rank) == [0, 1])
        #expect(try Self.link(&routing, done.actions) == [[1, 2]])
        // The prompt that rank 0 has stays there; the next one goes to the rank that has none.
        #expect(Self.place(&routing, 3, decode: 2).map(\.rank) == [1])
        #expect(routing.texts(of: [0, 1, 2]) == [2])
        // Both prompts are there, and then neither role needs the rank: it goes back.
        for id in [2, 3] as [UInt64] {
            let arrived = routing.receive(.arrived(RequestID(rawValue: id)), from: 2).isEmpty
            #expect(arrived)
        }
        let back = try Self.follow(&routing, texts: [0, 0, 0], from: 20)
        #expect(back.change.ranks == [1] && back.change.cause == .calm)
        #expect(Self.place(&routing, 4, decode: 2).map(\.rank) == [0])
        _ = routing.receive(.arrived(RequestID(rawValue: 4)), from: 2)
        let home = try Self.follow(&routing, texts: [0, 0, 1], from: 30)
        #expect(home.change.newRole == .decode && routing.decode == [1, 2])
        #expect(try Self.link(&routing, home.actions) == [[0, 1]])
        #expect(Self.place(&routing, 5, decode: 1).map(\.rank) == [0])
        #expect(routing.assignment?.changeCount == 2)
    }

    @Test func `a request that came while its rank changed is computed there`() throws {
        var routing = try Self.linked()
        _ = Self.place(&routing, 1, decode: 2)
        _ = try Self.follow(&routing, texts: [0, 0, 1], from: 0)
        // Two that the router gave to rank 1 before it knew: one asked already, one will.
        let asked = Self.place(&routing, 2, decode: 1)
        #expect(asked.map(\.rank) == [0])
        var late = GenerationRequest(
            id: RequestID(rawValue: 3), prompt: Array(repeating: 5, count: 300), maxNewTokens: 5)
        _ = routing.submitted(&late, to: 1)
        #expect(late.handover != nil)
        let done = try Self.follow(&routing, texts: [0, 0, 1], from: 10)
        #expect(done.change.newRole == .prefill)
        let two = RequestID(rawValue: 2)
        #expect(done.actions.contains { $0.rank == 0 && $0.command == .cancel(two) })
        #expect(
            done.actions.contains { $0.rank == 1 && $0.command == .handover(.compute(two)) })
        let answer = routing.receive(.granted(late.id, start: 0), from: 1)
        #expect(answer.map(\.rank) == [1])
        #expect(answer.map(\.command) == [.handover(.compute(late.id))])
    }

    @Test func `roles stay until every rank was here, and without a rule`() throws {
        let groups = try HandoverTests.groups(prefill: [1], decode: [1, 1])
        let rule = RoleRule(interval: .seconds(4), stepTokens: 16)
        var routing = HandoverRouting(groups, rule: rule, firstNumber: 1)
        for rank in [1, 2] { _ = routing.arrived(rank) }
        for second in 0 ..< 60 {
            let followed = routing.follow(
                texts: [0, 0, 0], slots: [8, 8, 8], now: .seconds(second))
            #expect(followed == nil)
        }
        // The first one is lost, and not only late.
        _ = routing.lost(0)
        let taken = try Self.follow(&routing, texts: [0, 0, 0], from: 60)
        #expect(taken.change.ranks == [1] && taken.change.cause == .noRank(.prefill))
        var fixed = HandoverRouting(groups, firstNumber: 1)
        for rank in 0 ..< 3 { _ = fixed.arrived(rank) }
        _ = fixed.lost(0)
        for second in 0 ..< 60 {
            let followed = fixed.follow(texts: [0, 0, 0], slots: [8, 8, 8], now: .seconds(second))
            #expect(followed == nil)
        }
    }

    @Test func `texts are the same while groups change their roles`() async throws {
        var setting = try HandoverTests.setting(prefill: [1], decode: [1, 1])
        // Two short prompts that wait are many, and everything happens within milliseconds.
        setting.roleRule = RoleRule(interval: .milliseconds(20), stepTokens: 8)
        let requests = HandoverTests.requests(24, tokens: 16, temperature: 0.8)
        let expected = try await HandoverTests.alone(requests)
        try await HandoverTests.with(setting) { run in
            var changes: UInt64 = 0
            for round in UInt64(0) ..< 40 where changes < 4 {
                // A prompt that lies in a cache is no work.
                var again = requests
                for index in again.indices {
                    again[index].id = RequestID(rawValue: requests[index].id.rawValue + round * 100)
                    again[index].cacheSalt = round
                }
                let texts = try await run.generate(again)
                #expect(texts == expected, "round \(round)")
                changes = run.ranks.router.roles()?.changes ?? 0
            }
            #expect(changes >= 4)
            #expect(HandoverTests.received(run) > 0)
            let roles = try #require(run.ranks.router.roles())
            #expect((roles.prefill + roles.decode).sorted() == [0, 1, 2])
            #expect(!roles.prefill.isEmpty && !roles.decode.isEmpty)
        }
    }
}
