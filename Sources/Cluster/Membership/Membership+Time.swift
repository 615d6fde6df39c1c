import Encoding
import Topology

/// What silence means.
extension Membership {
    /// A coordinator that did not run itself judges nobody by that time.
    ///
    /// Called before every event, as what came meanwhile may be read before the first tick.
    mutating func forgive(_ now: Duration, isTick: Bool) {
        guard let last = lastTick, now - last > Self.longestTick else {
            if isTick { lastTick = now }
            return
        }
        lastTick = now
        let pause = now - last - Self.longestTick
        func later(_ time: Duration) -> Duration { min(time + pause, now) }
        for index in members.indices {
            members[index].lastHeard = members[index].lastHeard.map(later)
            members[index].since = later(members[index].since)
        }
        suspectedSince = suspectedSince.map(later)
        if let since = suspect?.since { suspect?.since = later(since) }
        if let since = candidate?.since { candidate?.since = later(since) }
        if let since = takeOver?.since { takeOver?.since = later(since) }
        phaseBegan = later(phaseBegan)
        epochBegan = later(epochBegan)
    }

    /// Four times as long as the coordinator pauses between two polls.
    private static let longestTick = Duration.seconds(1)

    /// How long this coordinator did not run itself, where that is longer than its ranks are
    /// patient and they would wait for another one; nil else.
    ///
    /// If they ran meanwhile, what it knows of them is void: they left it, and are not lost.
    func absence(_ now: Duration) -> Duration? {
        guard goesOn, configuration.takeOverLimit > .zero, ending == nil, let lastTick
        else { return nil }
        let absence = now - lastTick
        return absence > absenceLimit ? absence : nil
    }

    /// Whether an event may come of a rank that gave this coordinator up.
    func isForsaken(_ event: Event) -> Bool {
        switch event {
        case .closed(let id, _): rank(of: id) != nil
        // Others come back for the first time while this coordinator takes over.
        case .arrived(_, let hello):
            hello.held != nil
                && (takeOver == nil || hello.rank.flatMap { connection(of: $0) } != nil)
        default: false
        }
    }

    /// How long a coordinator may not run before ranks give it up: they count from its last
    /// heartbeat, and poll each of their own.
    var absenceLimit: Duration {
        ControlProtocol.coordinatorSilence(ranks: configuration.silenceLimit)
            - ControlProtocol.heartbeatInterval * 2
    }

    /// How long nothing was heard of a rank that is in.
    func silence(of rank: Rank, _ now: Duration) -> Duration? {
        let member = members[rank.rawValue]
        return member.connection == nil ? nil : member.lastHeard.map { now - $0 }
    }
}
