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

    /// How long this coordinator did not run itself, where that is longer than its ranks are
    /// patient and they would wait for another one; nil else.
    ///
    /// If they ran meanwhile, what it knows of them is void: they left it, and are not lost.
    func absence(_ now: Duration) -> Duration? {
        guard configuration.survivesLosses, configuration.takeOverLimit > .zero, phase == .ready,
            ending == nil, let lastTick
        else { return nil }
        let absence = now - lastTick
        return absence > absenceLimit ? absence : nil
    }

    /// Whether an event may come of a rank that gave this coordinator up.
    func isForsaken(_ event: Event) -> Bool {
        switch event {
        case .closed(let id, _): rank(of: id) != nil
        case .arrived(_, let hello): hello.held != nil
        default: false
        }
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
