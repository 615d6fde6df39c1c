import Topology

/// How fast the links are, beside each other and beside the topology file.
extension JobFacts {
    /// One direction of a measured link.
    package struct Way: Codable, Equatable, Sendable {
        package var from: String
        package var to: String
        package var device: String
        /// Bytes per second.
        package var rate: Double
    }

    /// Every direction that has a rate, the slowest first.
    package var ways: [Way] {
        let all = links.flatMap { link in
            [
                link.forwardRate.map {
                    Way(from: link.from, to: link.to, device: link.device, rate: $0)
                },
                link.backwardRate.map {
                    Way(from: link.to, to: link.from, device: link.device, rate: $0)
                },
            ].compactMap { $0 }
        }
        return all.sorted { $0.rate < $1.rate }
    }

    /// A link at less than this share of the middle one is named.
    private static let slowShare = 0.25
    /// Of the rate that a topology file states.
    private static let statedShare = 0.5
    /// Bits per second beyond which one connection on one core is no measure of a NIC.
    private static let mostJudged = 10e9

    /// Directions that a rule accuses, by name: those are measured again before it is said.
    package var slowWays: [Way] {
        let all = ways
        guard let middle = all.isEmpty ? nil : all[all.count / 2] else { return [] }
        return all.filter { way in
            way.rate < middle.rate * Self.slowShare
                || statedRate(way).map { way.rate * 8 < $0 * Self.statedShare } == true
        }
    }

    /// What the topology file says of a way, bits per second, at most what is judged.
    private func statedRate(_ way: Way) -> Double? {
        guard let topology else { return nil }
        let plane =
            topology.planes.first { $0.name == way.device }
            ?? (topology.planes.count == 1 ? topology.planes.first : nil)
        return plane?.bandwidthBitsPerSecond.map { min($0, Self.mostJudged) }
    }

    func judgeRates() -> Verdict {
        let all = ways
        guard let slowest = all.first, let fastest = all.last else {
            return Verdict(summary: links.isEmpty ? "" : "no rate was measured")
        }
        let middle = all[all.count / 2].rate
        var verdict = Verdict(
            summary: "slowest link \(slowest.from) -> \(slowest.to)"
                + " \(slowest.rate.gigabits), fastest \(fastest.rate.gigabits)")
        for way in slowWays {
            let stated = statedRate(way).map {
                ", the topology file says \(($0 / 8).gigabits)"
            }
            verdict.findings.append(
                .warn(
                    "\(way.from) -> \(way.to)",
                    "the link carries \(way.rate.gigabits), the middle one"
                        + " \(middle.gigabits)\(stated ?? "")",
                    value: way.rate.gigabits, limit: middle.gigabits,
                    remedy: "check its cable, its switch port and ethtool"
                        + " \(way.device.isEmpty ? "DEVICE" : way.device)"))
        }
        return verdict
    }
}

extension Double {
    /// Bytes per second as Gbit/s.
    package var gigabits: String { "\((self * 8 / 1e9).formatted(digits: 2)) Gbit/s" }
}
