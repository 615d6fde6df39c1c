import Synchronization
import Topology

extension RankFabric {
    /// Makes one window per rank that the others may write into.
    func makeWindow(
        name: String, byteCount: Int, signalCount: Int, stagingByteCount: Int, deadline: Deadline
    ) throws(TransportError) -> Window {
        precondition(byteCount >= 0 && signalCount >= 0 && stagingByteCount >= 0)
        if isClosed.load(ordering: .acquiring) { throw .closed }
        let identifier = windowCount.withLock { count in
            defer { count += 1 }
            return count
        }
        let region = try Region(
            named: name,
            byteCount: WindowMemory.regionByteCount(
                byteCount: byteCount, signalCount: signalCount))
        let memory = WindowMemory(
            region: region, byteCount: byteCount, signalCount: signalCount)
        var staging: WindowMemory?
        if stagingByteCount > 0 {
            let region = try Region(named: "\(name)-staging", byteCount: stagingByteCount)
            staging = WindowMemory(region: region, byteCount: stagingByteCount, signalCount: 0)
        }
        let key =
            try engine?.register(
                RegisteredWindow(identifier: identifier, memory: memory, staging: staging)) ?? []
        let offer = WindowOffer(
            name: name, identifier: identifier, byteCount: byteCount, signalCount: signalCount,
            descriptor: region.descriptor, key: key)
        let label = "window \(identifier)"
        let blobs = try allGather(offer.encoded(), label: label, deadline: deadline)
        var offers: [WindowOffer] = []
        for (index, blob) in blobs.enumerated() {
            let theirs = try WindowOffer(decoding: blob, from: Rank(rawValue: index))
            try theirs.agree(with: offer, from: Rank(rawValue: index))
            offers.append(theirs)
        }
        let peers = try map(offers, own: memory)
        // Every rank has mapped every window, so the descriptors can go (invariant 2).
        _ = try allGather([], label: "\(label) is mapped", deadline: deadline)
        region.closeDescriptor()
        return Window(
            name: name, identifier: identifier, memory: memory, peers: peers,
            sizes: offers.map {
                WindowSize(byteCount: $0.byteCount, signalCount: $0.signalCount)
            },
            staging: staging, fabric: self)
    }

    private func map(
        _ offers: [WindowOffer], own: WindowMemory
    ) throws(TransportError) -> [WindowMemory?] {
        var peers: [WindowMemory?] = []
        for (index, offer) in offers.enumerated() {
            let entry = table[index]
            if index == rank.rawValue {
                peers.append(own)
            } else if entry.storesReach || engine == nil {
                let region = try Region(
                    of: Rank(rawValue: index), process: entry.process,
                    descriptor: offer.descriptor,
                    byteCount: WindowMemory.regionByteCount(
                        byteCount: offer.byteCount, signalCount: offer.signalCount))
                peers.append(
                    WindowMemory(
                        region: region, byteCount: offer.byteCount,
                        signalCount: offer.signalCount))
            } else {
                try engine?.learn(
                    window: offer.identifier, of: Rank(rawValue: index), key: offer.key)
                peers.append(nil)
            }
        }
        return peers
    }
}
