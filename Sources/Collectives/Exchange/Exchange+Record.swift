internal import Topology
internal import Transport

extension Operation {
    /// Leaves the record of the half that just ended.
    func record(_ kind: OperationRecord.Kind) {
        guard let layout else { return }
        let now = group.clock.nanoseconds
        let (logical, physical) = kind == .dispatch ? dispatchBytes(layout) : combineBytes()
        let crossing =
            kind == .dispatch
            ? map.remoteCarriers.reduce(0) { $0 + layout.slotCount($1) }
            : map.carriedSources.reduce(0) { $0 + returnedBytes[$1] / own.outputStride }
        let masked = map.masked.indices.filter { map.masked[$0] }
        group.keep(
            OperationRecord(
                kind: kind, sequence: sequence, logicalBytes: logical, physicalBytes: physical,
                crossingRows: crossing,
                wireTime: .nanoseconds(Int64(now - began)),
                skew: .nanoseconds(Int64(lastBegin - min(began, lastBegin))),
                exposedTime: .nanoseconds(Int64(exposed)), began: began,
                arrived: max(arrivedAt, began), ended: now, waits: waits,
                masked: masked.map { Rank(rawValue: $0) }))
        group.recordingTime += .nanoseconds(Int64(group.clock.nanoseconds - now))
    }

    private func dispatchBytes(_ layout: DispatchLayout) -> (logical: [Int], physical: [Int]) {
        let here = own
        let logical = layout.tokensPerRank.map { $0 * here.tokenBytes }
        var physical = [Int](repeating: 0, count: map.rankCount)
        physical[map.rank] = layout.tokensSent.count * here.tokenBytes
        for rank in map.neighbours { physical[rank] += layout.entryCount(rank) * here.entryBytes }
        for carrier in map.remoteCarriers {
            physical[carrier] += WindowMap.blockHeadBytes
            physical[carrier] += layout.slotCount(carrier) * here.slotBytes
        }
        return (logical, physical)
    }

    private func combineBytes() -> (logical: [Int], physical: [Int]) {
        let here = own
        let logical = (0 ..< map.rankCount).map { outputCount(for: $0) * here.outputBytes }
        var physical = [Int](repeating: 0, count: map.rankCount)
        physical[map.rank] = logical.reduce(0, +)
        for source in map.carriedSources { physical[source] += returnedBytes[source] }
        return (logical, physical)
    }
}
