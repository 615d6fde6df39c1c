import Collectives
package import Topology

/// Names the rank or the link for which the ranks of an exchange waited.
///
/// Every rank says how long it computed before a half, how long the half took, and whose bytes
/// ended its last wait. All are times of its own, so ranks need no common clock. A rank that
/// computed far longer than the others is a straggler; if nearly all ranks waited last for one, its
/// bytes are slow.
package struct ExchangeDiagnosis: Sendable {
    /// What one rank says of one half.
    package struct Sample: Sendable {
        let rank: Rank
        let node: Int
        /// When it began, in nanoseconds of its clock.
        let began: UInt64
        /// How long it computed before, in nanoseconds.
        let computed: UInt64
        /// How long the half took.
        let nanoseconds: UInt64
        /// Whose bytes ended its last wait, if that was long.
        let lastAwaited: Rank?
    }

    /// A cause, and what it was seen by.
    package enum Finding: Hashable, Sendable, CustomStringConvertible {
        case straggler(Rank, half: String, lateNanoseconds: UInt64)
        case slowSender(Rank, half: String, witnesses: Int, of: Int)
        case slowNode(Int, half: String, witnesses: Int, of: Int)
        case slowIntoNode(Int, half: String, late: Int, of: Int)
        case slowReceiver(Rank, half: String, ratio: Double)

        /// One line for people: the fact, the value, and what it is measured against.
        package var description: String {
            switch self {
            case .straggler(let rank, let half, let late):
                "straggler: \(rank) computed \(Report.number(Double(late) / 1000)) us longer than "
                    + "the median rank before \(half)"
            case .slowSender(let rank, let half, let witnesses, let all):
                "slow link: \(witnesses) of \(all) ranks waited last for \(rank) in \(half)"
            case .slowNode(let node, let half, let witnesses, let all):
                "slow link: \(witnesses) of \(all) ranks waited last for ranks of node \(node) "
                    + "in \(half)"
            case .slowIntoNode(let node, let half, let late, let all):
                "slow link: the \(late) ranks of \(all) that were late in \(half) are all of node "
                    + "\(node)"
            case .slowReceiver(let rank, let half, let ratio):
                "slow link: \(rank) needed \(Report.number(ratio, 2)) times the median rank's "
                    + "time in \(half)"
            }
        }

        /// The finding without its values, to count how often it was made.
        var subject: String {
            switch self {
            case .straggler(let rank, let half, _): "straggler \(rank) \(half)"
            case .slowSender(let rank, let half, _, _): "sender \(rank) \(half)"
            case .slowNode(let node, let half, _, _): "node \(node) \(half)"
            case .slowIntoNode(let node, let half, _, _): "into node \(node) \(half)"
            case .slowReceiver(let rank, let half, _): "receiver \(rank) \(half)"
            }
        }
    }

    /// The causes that were found, at most one per kind.
    package let findings: [Finding]

    /// Fewer ranks agree by chance.
    static let fewestRanks = 6
    /// Of the ranks that waited: routing drawn at random never makes so many name one.
    static let leastAgreement = 0.6
    /// Of the median rank's time: less is the spread of random routing and of computing.
    static let leastLateness = 0.25

    /// Judges one half of one exchange.
    package init(half: String, _ samples: [Sample]) {
        var findings: [Finding] = []
        let median = Self.median(samples.map(\.nanoseconds))
        let stragglers = Self.stragglers(half, samples, median)
        findings += stragglers.prefix(1)
        // A straggler is waited for; the wait says nothing of links then.
        if stragglers.isEmpty, samples.count >= Self.fewestRanks {
            // Where only some ranks are slow, they alone know why.
            let limit = Double(median) * (1 + 2 * Self.leastLateness)
            let late = samples.filter { Double($0.nanoseconds) > limit }
            let slow =
                Self.into(half, late, of: samples)
                ?? Self.sender(half, late.count > 1 ? late : samples, of: samples)
                ?? Self.receiver(half, samples, median)
            findings += [slow].compactMap { $0 }
        }
        self.findings = findings
    }

    private static func stragglers(
        _ half: String, _ samples: [Sample], _ length: UInt64
    ) -> [Finding] {
        let usual = median(samples.map(\.computed))
        let late = samples.filter { $0.computed > usual }
            .map { (rank: $0.rank, by: $0.computed - usual, half: min($0.nanoseconds, length)) }
            .filter {
                Double($0.by) > leastLateness * Double($0.half)
                    && Double($0.by) > 2 * leastLateness * Double(usual)
            }
        // If many are late, nobody is a straggler.
        guard late.count * 4 <= max(4, samples.count) else { return [] }
        return late.sorted { ($0.by, $1.rank.rawValue) > ($1.by, $0.rank.rawValue) }
            .map { .straggler($0.rank, half: half, lateNanoseconds: $0.by) }
    }

    /// The node that alone has late ranks: what enters it is slow, whoever sent it.
    private static func into(
        _ half: String, _ late: [Sample], of samples: [Sample]
    ) -> Finding? {
        guard late.count > 1, let node = late.first?.node, late.allSatisfy({ $0.node == node }),
            Set(samples.map(\.node)).count >= fewestRanks / 2
        else { return nil }
        return .slowIntoNode(node, half: half, late: late.count, of: samples.count)
    }

    /// The rank, or else the node, whose bytes nearly all witnesses waited last for.
    private static func sender(
        _ half: String, _ witnesses: [Sample], of samples: [Sample]
    ) -> Finding? {
        let nodes = Dictionary(uniqueKeysWithValues: samples.map { ($0.rank, $0.node) })
        let named = witnesses.compactMap { one in
            one.lastAwaited.flatMap { $0 == one.rank ? nil : $0 }
        }
        // Where most ranks waited for nothing in particular, nobody keeps them.
        let fewest = witnesses.count < samples.count ? 2 : max(fewestRanks, samples.count / 2)
        guard named.count >= fewest else { return nil }
        func most<Key: Hashable & Comparable>(_ keys: [Key]) -> (key: Key, count: Int)? {
            let counts = Dictionary(grouping: keys) { $0 }.mapValues(\.count)
            return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }
                .map { (key: $0.key, count: $0.value) }
        }
        let least = leastAgreement * Double(named.count)
        if let (rank, count) = most(named), Double(count) >= least {
            return .slowSender(rank, half: half, witnesses: count, of: named.count)
        }
        // A rank waits for other nodes alone, so that few nodes agree by chance, too.
        guard Set(nodes.values).count >= fewestRanks,
            let (node, count) = most(named.compactMap { nodes[$0] }), Double(count) >= least
        else { return nil }
        return .slowNode(node, half: half, witnesses: count, of: named.count)
    }

    private static func receiver(
        _ half: String, _ samples: [Sample], _ median: UInt64
    ) -> Finding? {
        guard let slowest = samples.max(by: { $0.nanoseconds < $1.nanoseconds }), median > 0 else {
            return nil
        }
        let ratio = Double(slowest.nanoseconds) / Double(median)
        guard ratio > 1 + 4 * leastLateness else { return nil }
        return .slowReceiver(slowest.rank, half: half, ratio: ratio)
    }

    /// The lower of the two in the middle.
    static func median(_ values: [UInt64]) -> UInt64 {
        values.isEmpty ? 0 : values.sorted()[(values.count - 1) / 2]
    }
}

extension ExchangeDiagnosis {
    /// Judges every measured exchange of a benchmark, and keeps what most of them show.
    ///
    /// - Parameter isEven: Whether ranks get equally many rows. Where they do not, the rank that
    ///   computes longest before the combine has more to do, and is no straggler.
    package static func findings(
        of measurements: [RankMeasurement], isEven: Bool
    ) -> [Finding] {
        let halves: [(String, KeyPath<RankMeasurement, RankMeasurement.Samples>)] = [
            ("dispatch", \.dispatch), ("combine", \.combine),
        ]
        return halves.flatMap { name, half in
            findings(ofRanks: samples(of: measurements, half), half: name, isEven: isEven)
        }
    }

    /// Examines one half of many exchanges of the same ranks, and keeps what most of them show.
    ///
    /// - Parameter ranks: By rank, what it says of each exchange.
    static func findings(
        ofRanks ranks: [[Sample]], half: String, isEven: Bool = true
    ) -> [Finding] {
        let exchanges = (0 ..< (ranks.map(\.count).min() ?? 0)).map { index in
            ranks.map { $0[index] }
        }
        let all = exchanges.flatMap { ExchangeDiagnosis(half: half, $0).findings }
        let fair = all.filter { finding in
            if case .straggler = finding { return isEven || half == "dispatch" }
            return true
        }
        return Dictionary(grouping: fair, by: \.subject).values
            .filter { 2 * $0.count > exchanges.count }.compactMap(\.last)
            .sorted { $0.subject < $1.subject }
    }

    private static func samples(
        of measurements: [RankMeasurement],
        _ half: KeyPath<RankMeasurement, RankMeasurement.Samples>
    ) -> [[Sample]] {
        measurements.enumerated().map { index, measurement in
            let node = measurement.nodes.indices.contains(index) ? measurement.nodes[index] : 0
            return measurement[keyPath: half].samples.map { timed in
                Sample(
                    rank: Rank(rawValue: index), node: node, began: timed.began,
                    computed: timed.computed, nanoseconds: timed.nanoseconds,
                    lastAwaited: timed.lastAwaited.map { Rank(rawValue: $0) })
            }
        }
    }
}

extension ExchangeRecord {
    /// The rank whose bytes ended the last wait, if that wait was long: of bytes that come one
    /// after the other some are always last.
    ///
    /// - Parameter nanoseconds: How long the half took.
    func lastAwaited(in nanoseconds: UInt64) -> Rank? {
        guard let wait = waits.last,
            Double(wait.upperBound - wait.lowerBound)
                >= ExchangeDiagnosis.leastLateness * Double(nanoseconds)
        else { return nil }
        return lastAwaited
    }
}
