import Topology

/// Which prefill rank computes which prompt, and which ranks are linked.
///
/// A value: what ranks say goes in, what to tell them comes out.
///
/// ```
///   submitted ──► at a decode rank ──► granted ──► at a prefill rank ──► sent
///                       ▲                              │ failed, lost, unlinked
///                       │   no rank is left,           ▼
///                       └── or three attempts ──── at another one
/// ```
///
/// 1. An attempt has a number of its own, and a later one a higher number.
/// 2. No prompt depends on a prefill rank: whatever fails, its decode rank computes it.
struct HandoverRouting: Sendable {
    /// What to tell a rank.
    typealias Action = (rank: Int, command: EngineCommand)

    /// Two ranks, as the job numbers them.
    struct Pair: Hashable {
        let prefill: Int
        let decode: Int
    }

    struct Link {
        let number: UInt64
        /// The ends that are there.
        var ready: Set<Int> = []
        /// When it may be made again, where it failed.
        var retry: ContinuousClock.Instant?

        var isReady: Bool { retry == nil && ready.count == 2 }
    }

    struct Order {
        let request: GenerationRequest
        let decode: Int
        let firstAttempt: UInt64
        var attempt: UInt64
        var start = 0
        /// The rank that computes it now.
        var prefill: Int?
        /// Ranks at which it failed.
        var failed: Set<Int> = []
        var work = 0
    }

    /// The ranks of each role.
    var prefill: [Int] = []
    var decode: [Int] = []
    /// Which group of ranks has which role; nil where each keeps that of the job file.
    var assignment: RoleAssignment?
    /// The groups of a job with roles, and the group of each rank.
    let groups: [RankGroup]
    let groupOfRank: [Int]
    var here: Set<Int> = []
    /// Ranks that were here, or are known to be lost.
    var known: Set<Int> = []
    var links: [Pair: Link] = [:]
    var orders: [RequestID: Order] = [:]
    var memories: [Int: PrefixMemory] = [:]
    private var numbers: UInt64

    /// Between two attempts to link the same ranks.
    private static let retryInterval = Duration.seconds(5)

    /// Routes between the ranks of these groups.
    ///
    /// - Parameters:
    ///   - rule: When a group gets the other role; nil for never.
    ///   - firstNumber: Another one for each router of a job, so that what was said to one means
    ///     nothing to the next.
    init(
        _ map: RankGroupMap?, rule: RoleRule? = nil,
        firstNumber: UInt64 = .random(in: 1 ... 1 << 62)
    ) {
        numbers = firstNumber
        groups = map?.handsOver == true ? map?.groups ?? [] : []
        groupOfRank = groups.indices.flatMap { [groups] index in
            Array(repeating: index, count: groups[index].rankCount)
        }
        if !groups.isEmpty { assignment = rule.map { RoleAssignment(groups.map(\.role), $0) } }
        takeRoles()
    }

    /// The ranks that continue texts: of those that live, the ones that do nothing else, if any,
    /// and that keep their role, if any.
    func texts(of living: [Int]) -> [Int] {
        let others = living.filter { !prefill.contains($0) }
        let staying = others.filter { !isLeaving($0) }
        return !staying.isEmpty ? staying : others.isEmpty ? living : others
    }

    // MARK: Prompts

    /// Notes a request that goes to a rank, and says in it whether its entries may come from
    /// another one.
    mutating func submitted(_ request: inout GenerationRequest, to rank: Int) -> [Action] {
        let actions = ended(request.id)
        request.handover = nil
        guard request.promptTopLogprobs == nil, decode.contains(rank),
            prefill.contains(where: { links[Pair(prefill: $0, decode: rank)]?.isReady == true })
        else { return actions }
        let first = numbers + 1
        numbers += HandoverInbox.mostAttempts
        request.handover = first
        orders[request.id] = Order(
            request: request, decode: rank, firstAttempt: first, attempt: first)
        return actions
    }

    /// Forgets a request whose text ended.
    mutating func ended(_ id: RequestID) -> [Action] {
        guard let rank = orders.removeValue(forKey: id)?.prefill else { return [] }
        return [(rank, .cancel(id))]
    }

    /// Takes what a rank says.
    mutating func receive(_ report: HandoverReport, from rank: Int) -> [Action] {
        switch report {
        case .granted(let id, let start):
            guard let order = orders[id], order.decode == rank, order.prefill == nil else {
                return []
            }
            orders[id]?.start = start
            return place(id)
        case .sent(let id, let attempt):
            guard orders[id]?.prefill == rank, orders[id]?.attempt == attempt else { return [] }
            // Its entries may still be under way: the order stays until the text ends.
            orders[id]?.work = 0
            return []
        case .failed(let id, let attempt, _):
            guard orders[id]?.attempt == attempt, orders[id]?.prefill == rank else { return [] }
            return again(id, leavesOld: false)
        case .arrived(let id):
            if orders[id]?.decode == rank { orders[id] = nil }
            return []
        case .abandoned(let id):
            guard orders[id]?.decode == rank else { return [] }
            return ended(id)
        case .blob(let blob):
            guard let (pair, _) = link(blob.number, of: rank) else { return [] }
            let other = pair.prefill == rank ? pair.decode : pair.prefill
            return [(other, .handover(.blob(blob)))]
        case .linked(let number):
            if let (pair, _) = link(number, of: rank) { links[pair]?.ready.insert(rank) }
            return []
        case .unlinked(let number, _):
            guard let (pair, _) = link(number, of: rank) else { return [] }
            links[pair]?.retry = .now + Self.retryInterval
            let other = pair.prefill == rank ? pair.decode : pair.prefill
            return [(other, .handover(.unlink(number)))] + move { $0 == pair }
        }
    }

    private func link(_ number: UInt64, of rank: Int) -> (Pair, Link)? {
        links.first {
            $0.value.number == number && ($0.key.prefill == rank || $0.key.decode == rank)
        }.map { ($0.key, $0.value) }
    }

    /// Gives a prompt to the prefill rank that has it ready first, or back to its decode rank.
    ///
    /// What a rank must compute before is the measure: of prompts that it has, and of this one what
    /// it does not seem to have cached.
    private mutating func place(_ id: RequestID) -> [Action] {
        guard var order = orders[id] else { return [] }
        var request = order.request
        request.prompt += request.resumption?.tokens ?? []
        request.prompt.removeLast()
        let candidates = prefill.filter {
            !order.failed.contains($0) && !isLeaving($0)
                && links[Pair(prefill: $0, decode: order.decode)]?.isReady == true
        }
        func work(_ rank: Int) -> Int {
            let known = memories[rank]?.match(request.prompt, salt: request.cacheSalt) ?? 0
            return max(1, request.prompt.count - known)
        }
        func queued(_ rank: Int) -> Int {
            orders.values.reduce(0) { $1.prefill == rank ? $0 + $1.work : $0 }
        }
        guard let rank = candidates.min(by: { queued($0) + work($0) < queued($1) + work($1) }),
            let link = links[Pair(prefill: rank, decode: order.decode)]
        else {
            orders[id] = nil
            return [(order.decode, .handover(.compute(id)))]
        }
        order.prefill = rank
        order.work = work(rank)
        orders[id] = order
        memories[rank, default: PrefixMemory()].note(request.prompt, salt: request.cacheSalt)
        return [
            (
                rank,
                .handover(
                    .prefill(
                        PrefillOrder(
                            request: request.forPrefill, attempt: order.attempt, start: order.start,
                            link: link.number)))
            )
        ]
    }

    /// Gives a prompt to another prefill rank, if it has an attempt left.
    ///
    /// - Parameter leavesOld: Whether the rank that has it must be told.
    mutating func again(_ id: RequestID, leavesOld: Bool) -> [Action] {
        guard var order = orders[id], let rank = order.prefill else { return [] }
        let cancel: [Action] = leavesOld ? [(rank, .cancel(id))] : []
        order.failed.insert(rank)
        order.prefill = nil
        order.attempt += 1
        guard order.attempt < order.firstAttempt + HandoverInbox.mostAttempts else {
            orders[id] = nil
            return cancel + [(order.decode, .handover(.compute(id)))]
        }
        orders[id] = order
        return cancel + place(id)
    }

    private mutating func move(_ isOf: (Pair) -> Bool) -> [Action] {
        let ids = orders.filter { entry in
            guard let rank = entry.value.prefill else { return false }
            return isOf(Pair(prefill: rank, decode: entry.value.decode))
        }.keys.sorted()
        return ids.flatMap { again($0, leavesOld: true) }
    }

    // MARK: Ranks

    /// A rank takes requests: it is linked to those of the other role.
    mutating func arrived(_ rank: Int) -> [Action] {
        here.insert(rank)
        known.insert(rank)
        return linkAll(of: rank)
    }

    /// A rank is lost: its prompts go to others.
    mutating func lost(_ rank: Int) -> [Action] {
        here.remove(rank)
        known.insert(rank)
        memories[rank] = nil
        var actions: [Action] = []
        for (pair, link) in links where pair.prefill == rank || pair.decode == rank {
            links[pair] = nil
            let other = pair.prefill == rank ? pair.decode : pair.prefill
            actions.append((other, .handover(.unlink(link.number))))
        }
        for (id, order) in orders where order.decode == rank { actions += ended(id) }
        actions += move { $0.prefill == rank }
        return actions.filter { $0.rank != rank }.sorted { $0.rank < $1.rank }
    }

    /// Tries links again that failed a while ago.
    mutating func retry() -> [Action] {
        let due = links.filter { entry in entry.value.retry.map { $0 <= .now } ?? false }
        return due.keys.flatMap { makeLink($0) }
    }

    mutating func linkAll(of rank: Int) -> [Action] {
        let pairs =
            prefill.contains(rank)
            ? decode.map { Pair(prefill: rank, decode: $0) }
            : decode.contains(rank) ? prefill.map { Pair(prefill: $0, decode: rank) } : []
        // A rank says that it is there in each of its epochs; its links outlive them.
        return pairs.filter {
            here.contains($0.prefill) && here.contains($0.decode)
                && (links[$0] == nil || links[$0]?.retry != nil)
        }.flatMap { makeLink($0) }
    }

    private mutating func makeLink(_ pair: Pair) -> [Action] {
        numbers += 1
        links[pair] = Link(number: numbers)
        let members = [Rank(rawValue: pair.prefill), Rank(rawValue: pair.decode)]
        return members.enumerated().map { place, rank in
            let order = LinkOrder(number: numbers, members: members, place: place)
            return (rank.rawValue, .handover(.link(order)))
        }
    }
}

extension GenerationRequest {
    /// What a prefill rank needs to know of a request whose prompt it computes.
    fileprivate var forPrefill: GenerationRequest {
        var order = GenerationRequest(id: id, prompt: prompt, maxNewTokens: 0)
        order.cacheSalt = cacheSalt
        return order
    }
}
