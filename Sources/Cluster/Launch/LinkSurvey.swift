import Encoding
import Topology

/// Measures the links between all hosts, each host in one pair at a time.
struct LinkSurvey {
    private let connections: [HostConnection]
    /// For one pair: a way that loses packets takes some 9 s in each direction.
    private static let deadline = Duration.seconds(30)

    /// A survey of hosts that answered.
    init(_ connections: [HostConnection]) { self.connections = connections }

    /// Two of the hosts and the device of each.
    fileprivate struct Pair {
        var from: Int
        var to: Int
        /// Nil leaves the way to the kernel.
        var plane: Int?
    }

    /// Adds what was measured to the facts.
    ///
    /// Links that a rule would call slow are measured again, because other work on a machine can
    /// slow down one measurement, and speeds up none.
    func run(_ facts: inout JobFacts, _ stop: StopFlag) {
        guard connections.count > 1 else { return }
        let token = ControlToken.random().text
        for connection in connections { connection.ask(.listen(token: token)) }
        wait(stop) { connections.allSatisfy { $0.answers.listener != nil } }
        let planes = connections.map { facts.devices($0.checked).count }.min() ?? 0
        var found: [LinkMeasurement] = []
        for round in rounds(facts) {
            let pairs = round.flatMap { pair in
                planes == 0 ? [pair] : (0 ..< planes).map { Pair(pair, plane: $0) }
            }
            // Planes of one pair take turns.
            for plane in 0 ..< max(1, planes) {
                let some = pairs.filter { ($0.plane ?? 0) == plane }
                found += measure(some, facts, token, stop)
            }
        }
        facts.links = found
        for _ in 0 ..< Self.repetitions where !stop.isRaised {
            let slow = facts.slowWays
            for (index, link) in facts.links.enumerated()
            where slow.contains(where: { $0.isOf(link) }) {
                guard let pair = pair(of: link, facts),
                    let again = measure([pair], facts, token, stop).first
                else { continue }
                facts.links[index].keepBest(of: again)
            }
        }
    }

    /// How often a way that seems slow is measured again.
    private static let repetitions = 2

    private func pair(of link: LinkMeasurement, _ facts: JobFacts) -> Pair? {
        guard let from = connections.firstIndex(where: { $0.host.name == link.from }),
            let to = connections.firstIndex(where: { $0.host.name == link.to })
        else { return nil }
        let plane = facts.devices(connections[from].checked).firstIndex(of: link.device)
        return Pair(from: from, to: to, plane: plane)
    }

    /// Rounds of pairs; those of hosts that are one machine take turns, and slow nobody down.
    private func rounds(_ facts: JobFacts) -> [[Pair]] {
        let rounds = Self.rounds(of: connections.count).map { round in
            round.map { Pair(from: $0.0, to: $0.1) }
        }
        let machines = Set(facts.surveyed.map(\.survey.machine))
        guard machines.count < connections.count else { return rounds }
        return rounds.flatMap { $0.map { [$0] } }
    }

    /// Every pair of some hosts once: rounds of a tournament, in which a host meets one other.
    static func rounds(of hosts: Int) -> [[(Int, Int)]] {
        guard hosts > 1 else { return [] }
        let count = hosts + hosts % 2
        return (0 ..< count - 1).map { round in
            // The last one stays, the others turn; with an odd number the last is nobody.
            let ring = [count - 1] + (0 ..< count - 1).map { ($0 + round) % (count - 1) }
            return (0 ..< count / 2).map { (ring[$0], ring[count - 1 - $0]) }
                .filter { max($0.0, $0.1) < hosts }
                .map { (min($0.0, $0.1), max($0.0, $0.1)) }
        }
    }

    /// Measures pairs at once, of which no two share a host.
    private func measure(
        _ pairs: [Pair], _ facts: JobFacts, _ token: String, _ stop: StopFlag
    ) -> [LinkMeasurement] {
        var asked: [(pair: Pair, link: LinkMeasurement)] = []
        var failed: [LinkMeasurement] = []
        for pair in pairs {
            var link = LinkMeasurement()
            link.from = connections[pair.from].host.name
            link.to = connections[pair.to].host.name
            link.device =
                pair.plane.map { facts.devices(connections[pair.from].checked)[$0] } ?? ""
            let listener = connections[pair.to].answers.listener
            guard let listener, listener.port != 0 else {
                link.failure = "\(link.to) cannot listen: \(listener?.failure ?? "it is silent")"
                failed.append(link)
                continue
            }
            guard let order = order(pair, facts, port: listener.port, token: token) else {
                link.failure = "one of the hosts has no IPv4 address on it"
                failed.append(link)
                continue
            }
            connections[pair.from].ask(.measure(order))
            asked.append((pair, link))
        }
        wait(stop) {
            asked.allSatisfy { connections[$0.pair.from].answers.measurement != nil }
        }
        return failed
            + asked.map { pair, link in
                guard var found = connections[pair.from].answers.measurement else {
                    var late = link
                    late.failure = "no answer within \(Self.deadline.seconds) s"
                    return late
                }
                (found.from, found.to, found.device) = (link.from, link.to, link.device)
                return found
            }
    }

    private func order(_ pair: Pair, _ facts: JobFacts, port: Int, token: String) -> ProbeOrder? {
        guard let near = connections[pair.from].answers.survey,
            let far = connections[pair.to].answers.survey
        else { return nil }
        var cards = far.cards.filter(\.isUp)
        var local: String?
        if let plane = pair.plane {
            let name = facts.devices(connections[pair.to].checked)[plane]
            let own = facts.devices(connections[pair.from].checked)[plane]
            cards = far.cards.filter { $0.name == name }
            local = near.cards.first { $0.name == own }?.addresses.first
            guard local != nil else { return nil }
        }
        let own = near.cards.flatMap(\.addresses)
        // An address that both hosts have, as of a bridge for containers, leads back.
        let addresses = cards.flatMap(\.addresses).filter { !own.contains($0) }
        guard !addresses.isEmpty else { return nil }
        let sizes = (near.cards + far.cards).map { min($0.maximumPacketBytes, 65535) }
        return ProbeOrder(
            addresses: Self.sorted(addresses, near: own), port: port, token: token,
            localAddress: local,
            packetSizes: Set(sizes + Self.usualSizes).sorted(by: >))
    }

    /// MTUs that networks have: jumbo frames, InfiniBand, Ethernet, PPPoE, tunnels, the least.
    private static let usualSizes = [9000, 4092, 2044, 1500, 1492, 1450, 1400, 1280, 576]

    /// The addresses that begin most like one of ours first.
    private static func sorted(_ addresses: [String], near own: [String]) -> [String] {
        func score(_ address: String) -> Int {
            own.map { zip($0, address).prefix { $0 == $1 }.count }.max() ?? 0
        }
        return addresses.enumerated().sorted {
            (score($1.element), $0.offset) < (score($0.element), $1.offset)
        }.map(\.element)
    }

    private func wait(_ stop: StopFlag, until isOver: () -> Bool) {
        let limit = ContinuousClock.now + Self.deadline
        while !isOver(), .now < limit, !stop.isRaised { stop.wait(Self.pollInterval) }
    }

    /// Short beside a measurement.
    private static let pollInterval = 0.02
}

extension LinkSurvey.Pair {
    fileprivate init(_ pair: Self, plane: Int) {
        self = pair
        self.plane = plane
    }
}

extension JobFacts.Way {
    /// Whether it is a direction of a link.
    fileprivate func isOf(_ link: LinkMeasurement) -> Bool {
        device == link.device && Set([from, to]) == Set([link.from, link.to])
    }
}

extension LinkMeasurement {
    /// Takes over what another measurement of the link shows to be better.
    fileprivate mutating func keepBest(of other: LinkMeasurement) {
        forwardRate = [forwardRate, other.forwardRate].compactMap { $0 }.max()
        backwardRate = [backwardRate, other.backwardRate].compactMap { $0 }.max()
        roundTripSeconds = [roundTripSeconds, other.roundTripSeconds].compactMap { $0 }.min()
    }
}
