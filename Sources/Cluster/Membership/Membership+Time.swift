import Encoding
import Topology

/// What silence means.
extension Membership {
    /// A coordinator that did not run itself judges nobody by that time.
    mutating func forgive(_ now: Duration) {
        defer { lastTick = now }
        guard let lastTick, now - lastTick > Self.longestTick else { return }
        let pause = now - lastTick - Self.longestTick
        for index in members.indices { members[index].lastHeard? += pause }
        suspectedSince? += pause
    }

    /// Four times as long as the coordinator pauses between two looks.
    private static let longestTick = Duration.seconds(1)

    /// How long nothing was heard of a rank that is in.
    func silence(of rank: Rank, _ now: Duration) -> Duration? {
        let member = members[rank.rawValue]
        return member.connection == nil ? nil : member.lastHeard.map { now - $0 }
    }
}
