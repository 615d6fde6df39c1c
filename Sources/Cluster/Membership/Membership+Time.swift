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

    /// How long this coordinator did not run itself, where its ranks have given it up meanwhile and
    /// wait for another one; nil else.
    ///
    /// What it knows of them is void: one that comes to it does not come from a coordinator before.
    func absence(_ now: Duration) -> Duration? {
        guard configuration.survivesLosses, configuration.takeOverLimit > .zero, phase == .ready,
            ending == nil, let lastTick
        else { return nil }
        let absence = now - lastTick
        return absence > absenceLimit ? absence : nil
    }

    /// Silence of a coordinator after which ranks give it up.
    var absenceLimit: Duration {
        ControlProtocol.coordinatorSilence(ranks: configuration.silenceLimit)
    }

    /// How long nothing was heard of a rank that is in.
    func silence(of rank: Rank, _ now: Duration) -> Duration? {
        let member = members[rank.rawValue]
        return member.connection == nil ? nil : member.lastHeard.map { now - $0 }
    }
}
