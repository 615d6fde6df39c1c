import Topology

/// All-gathers among ranks of one epoch.
extension Membership {
    mutating func contributed(
        _ id: ConnectionID, _ gather: Gather, _ blob: [UInt8], _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        // What was said in an epoch that is over, nobody waits for.
        guard gather.epoch == members[rank.rawValue].told || gather.epoch == candidate?.number
        else { return [] }
        var parts = gathers[gather] ?? [:]
        guard parts[rank] == nil, blob.count <= ControlProtocol.largestBlobBytes,
            isSound(gather, for: rank),
            gathers.values.count(where: { $0[rank] != nil }) < Self.mostGathers
        else {
            let reason = "all-gather \"\(gather.label)\" of \(blob.count) bytes is out of turn"
            if goesOn || expectsTakeOver(now) { return lose(rank, reason: reason, now) }
            return end(
                .failed(rank: rank, phase: members[rank.rawValue].phase, reason: reason))
        }
        parts[rank] = blob
        gathers[gather] = parts
        let count = gather.members.isEmpty ? members.count : gather.members.count
        guard parts.count == count else { return [] }
        gathers[gather] = nil
        let takers =
            gather.members.isEmpty
            ? members.indices.map { Rank(rawValue: $0) } : gather.members
        let blobs = takers.map { parts[$0] ?? [] }
        return takers.compactMap { connection(of: $0) }.map { .deliver($0, gather, blobs: blobs) }
    }

    /// Whether a rank may take part: the members are ranks of the job, it is one, none is twice.
    private func isSound(_ gather: Gather, for rank: Rank) -> Bool {
        gather.members.isEmpty
            || gather.members.contains(rank) && Set(gather.members).count == gather.members.count
                && gather.members.allSatisfy { members.indices.contains($0.rawValue) }
    }
}
