internal import Topology

extension Exchange {
    /// Makes a call of the exchange between the two events of it.
    func watched(_ call: ExchangeEvent.Call, _ body: () throws -> Void) rethrows {
        guard let watcher = log.watcher else { return try body() }
        var event = ExchangeEvent(
            call: call, sequence: sequence, isBegin: true, layout: layout, weighting: weighting)
        watcher(event)
        try body()
        event.isBegin = false
        event.weighting = weighting
        watcher(event)
    }

    /// Leaves the record of the half that just ended.
    func record(_ kind: ExchangeRecord.Kind) {
        let layout = layout
        let map = layout.map
        let now = clock.now
        countTraffic(kind, layout)
        let (logical, physical) =
            kind == .dispatch ? dispatchBytes(layout) : combineBytes(layout)
        let crossing =
            kind == .dispatch
            ? map.remoteCarriers.reduce(0) { $0 + layout.slotCount($1) }
            : map.carriedSources.reduce(0) {
                $0 + relay.returnedBytes[$1] / windows.own.outputStride
            }
        log.keep(
            ExchangeRecord(
                kind: kind, sequence: sequence, logicalBytes: logical, physicalBytes: physical,
                crossingRows: crossing,
                wireTime: .nanoseconds(Int64(now - clock.began)),
                skew: .nanoseconds(Int64(clock.lastBegin - min(clock.began, clock.lastBegin))),
                exposedTime: .nanoseconds(Int64(clock.exposed)), began: clock.began,
                arrived: max(clock.arrivedAt, clock.began), ended: now, waits: clock.waits,
                lastAwaited: clock.lastAwaited, masked: map.masked),
            since: now, windows.clock)
    }

    private func dispatchBytes(
        _ layout: DispatchLayout
    ) -> (logical: [Int], physical: [Int]) {
        let (here, map) = (windows.own, layout.map)
        var physical = PerRank(repeating: 0, count: map.rankCount)
        physical[map.rank] = layout.tokensSent.count * here.tokenBytes
        for rank in map.neighbours { physical[rank] += layout.entryCount(rank) * here.entryBytes }
        for carrier in map.remoteCarriers {
            physical[carrier] += blockBytes(to: carrier)
        }
        return (layout.tokensPerRank.values.map { $0 * here.tokenBytes }, physical.values)
    }

    private func blockBytes(to carrier: Rank) -> Int {
        WindowMap.blockHeadBytes + layout.slotCount(carrier) * windows.own.slotBytes
    }

    /// Counts what travelled to every other rank in the half that just ended.
    private func countTraffic(_ kind: ExchangeRecord.Kind, _ layout: DispatchLayout) {
        let (here, map) = (windows.own, layout.map)
        switch kind {
        case .dispatch:
            for rank in map.neighbours where rank != map.rank {
                let tokens = layout.entryCount(rank) + relay.forwardedCounts[rank]
                log.sent(tokens * (here.tokenBytes + here.entryBytes), to: rank)
            }
            for carrier in map.remoteCarriers { log.sent(blockBytes(to: carrier), to: carrier) }
        case .combine:
            for source in map.alive {
                // A carrier of this node reads what it takes home for a source elsewhere.
                let isNear = map.share(source, map.rank)
                let reader = isNear ? source : map.carrier(from: source)
                if reader != map.rank {
                    log.sent(outputCount(for: source) * here.outputBytes, to: reader)
                }
            }
            for source in map.carriedSources { log.sent(relay.returnedBytes[source], to: source) }
        }
    }

    private func combineBytes(
        _ layout: DispatchLayout
    ) -> (logical: [Int], physical: [Int]) {
        let map = layout.map
        let logical = map.ranks.map { outputCount(for: $0) * windows.own.outputBytes }
        var physical = PerRank(repeating: 0, count: map.rankCount)
        physical[map.rank] = logical.reduce(0, +)
        for source in map.carriedSources { physical[source] += relay.returnedBytes[source] }
        return (logical, physical.values)
    }
}
