import Models

/// Prompts whose entries another rank computes.
///
/// Such a sequence has all its blocks from the beginning, and no part in any step, until its
/// entries have arrived. It then is as one whose prompt was found in the prefix cache.
extension Scheduler {
    /// Takes the requests for whose entries there is room now, with the positions that are wanted.
    mutating func takeGranted() -> [(id: RequestID, positions: Range<Int>, blocks: [BlockID])] {
        defer { granted = [] }
        return granted.compactMap { id in
            guard let sequence = self[id], sequence.awaitsEntries else { return nil }
            return (id, sequence.computed ..< sequence.tokens.count - 1, sequence.blocks)
        }
    }

    /// Takes the requests whose blocks were taken back while entries were on their way.
    mutating func takeWithdrawn() -> [RequestID] {
        defer { withdrawn = [] }
        return withdrawn
    }

    /// Lets a sequence that was just admitted wait for its entries, if that is worth its while and
    /// there is room for all of them.
    mutating func awaitEntries(_ id: RequestID) {
        guard sequences[id].wantsHandover else { return }
        // Once only: what failed is computed here.
        sequences[id].wantsHandover = false
        let end = sequences[id].tokens.count - 1
        guard end - sequences[id].computed >= limits.handoverTokens, reserve(id, upTo: end) else {
            return
        }
        sequences[id].awaitsEntries = true
        granted.append(id)
    }

    /// Goes on with a sequence whose entries have arrived; only its last token is to be computed.
    ///
    /// - Parameter cachedTokens: Those that the other rank had found in its cache.
    mutating func arrived(_ id: RequestID, cachedTokens: Int) {
        guard self[id]?.awaitsEntries == true else { return }
        sequences[id].awaitsEntries = false
        sequences[id].computed = sequences[id].tokens.count - 1
        sequences[id].cachedTokens = max(sequences[id].cachedTokens ?? 0, cachedTokens)
        publishIfCached(id)
    }

    /// Computes a sequence here whose entries do not come.
    mutating func computeHere(_ id: RequestID) {
        guard self[id] != nil else { return }
        sequences[id].wantsHandover = false
        sequences[id].awaitsEntries = false
    }
}
