/// Byte-pair encoding: starting from single bytes, always merges the adjacent pair of lowest
/// rank, the leftmost first, until no pair has a rank.
///
/// Short pieces (nearly all) are merged in place by scanning; long ones with a queue of pairs, so
/// that a run of ten million letters takes time in proportion.
struct BytePairEncoder: Sendable {
    /// Below this many symbols a scan for the lowest rank beats a queue.
    private static let scanLimit = 64

    private struct Merge: Sendable {
        var pair: UInt64 = .max
        var rank: UInt32 = .max
        var id: UInt32 = 0
    }

    /// Open addressing by pair; `pair == .max` is free.
    private var merges: [Merge]
    private var mergeCount = 0
    /// One more than the largest rank.
    private var rankLimit = 0
    /// The token of each single byte.
    private let byteTokens: [UInt32]
    /// For a model with `ignore_merges`: whole pieces that are tokens stay whole.
    let wholePieces: [ArraySlice<UInt8>: UInt32]

    /// - Parameter byteTokens: The id of each of the 256 single-byte tokens.
    init(
        byteTokens: [UInt32], mergeCount: Int, wholePieces: [ArraySlice<UInt8>: UInt32] = [:]
    ) {
        precondition(byteTokens.count == 256)
        self.byteTokens = byteTokens
        self.wholePieces = wholePieces
        var slotCount = 64
        while slotCount < mergeCount * 2 { slotCount *= 2 }
        merges = Array(repeating: Merge(), count: slotCount)
    }

    /// Adds a merge.
    ///
    /// The last of equal pairs counts, as in Hugging Face's loader.
    mutating func insert(left: Int, right: Int, rank: Int, id: Int) {
        let pair = UInt64(left) << 32 | UInt64(right)
        let slot = self.slot(of: pair)
        if merges[slot].pair == .max {
            mergeCount += 1
            precondition(mergeCount < merges.count, "more merges than were announced")
        }
        rankLimit = max(rankLimit, rank + 1)
        merges[slot] = Merge(pair: pair, rank: UInt32(rank), id: UInt32(id))
    }

    private func slot(of pair: UInt64) -> Int {
        let mask = merges.count - 1
        var slot = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
        while merges[slot].pair != pair && merges[slot].pair != .max { slot = (slot + 1) & mask }
        return slot
    }

    private func merge(_ left: UInt32, _ right: UInt32) -> Merge {
        merges[slot(of: UInt64(left) << 32 | UInt64(right))]
    }

    /// Appends the ids of `bytes[range]` to `ids`.
    func encode(
        _ bytes: [UInt8], _ range: Range<Int>, into ids: inout [Int],
        _ scratch: inout Scratch
    ) {
        if !wholePieces.isEmpty, let id = wholePieces[bytes[range]] {
            ids.append(Int(id))
        } else if range.count == 1 {
            ids.append(Int(byteTokens[Int(bytes[range.lowerBound])]))
        } else if range.count <= Self.scanLimit {
            encodeByScan(bytes, range, into: &ids, &scratch)
        } else {
            encodeByQueue(bytes, range, into: &ids, &scratch)
        }
    }

    /// Room for the symbols of one piece, reused over pieces.
    struct Scratch {
        fileprivate var symbols: [UInt32] = []
        fileprivate var ranks: [UInt32] = []
        fileprivate var next: [Int32] = []
        fileprivate var previous: [Int32] = []
    }

    private func encodeByScan(
        _ bytes: [UInt8], _ range: Range<Int>, into ids: inout [Int],
        _ scratch: inout Scratch
    ) {
        // ranks[i] is the rank of the pair (i, i + 1).
        var count = range.count
        scratch.symbols.removeAll(keepingCapacity: true)
        scratch.ranks.removeAll(keepingCapacity: true)
        for index in range { scratch.symbols.append(byteTokens[Int(bytes[index])]) }
        for index in 0 ..< count - 1 {
            scratch.ranks.append(merge(scratch.symbols[index], scratch.symbols[index + 1]).rank)
        }
        while count > 1 {
            var best = 0
            for index in 1 ..< max(1, count - 1) where scratch.ranks[index] < scratch.ranks[best] {
                best = index
            }
            guard scratch.ranks[best] != .max else { break }
            scratch.symbols[best] =
                merge(scratch.symbols[best], scratch.symbols[best + 1]).id
            for index in best + 1 ..< count - 1 {
                scratch.symbols[index] = scratch.symbols[index + 1]
                if index < count - 2 { scratch.ranks[index] = scratch.ranks[index + 1] }
            }
            count -= 1
            if best + 1 < count {
                let right = scratch.symbols[best + 1]
                scratch.ranks[best] = merge(scratch.symbols[best], right).rank
            }
            if best > 0 {
                let left = scratch.symbols[best - 1]
                scratch.ranks[best - 1] = merge(left, scratch.symbols[best]).rank
            }
        }
        for index in 0 ..< count { ids.append(Int(scratch.symbols[index])) }
    }

    /// Merges a piece of more than `scanLimit` bytes, its symbols linked in a list.
    private func encodeByQueue(
        _ bytes: [UInt8], _ range: Range<Int>, into ids: inout [Int], _ scratch: inout Scratch
    ) {
        let count = range.count
        precondition(count <= Int(Int32.max), "a piece is longer than \(Int32.max) bytes")
        scratch.symbols.removeAll(keepingCapacity: true)
        for index in range { scratch.symbols.append(byteTokens[Int(bytes[index])]) }
        scratch.next = (0 ..< count).map { $0 + 1 < count ? Int32($0 + 1) : -1 }
        scratch.previous = (0 ..< count).map { Int32($0) - 1 }
        var queue = MergeQueue(rankLimit: rankLimit, positionCount: count)
        for index in 0 ..< count - 1 { push(index, scratch, &queue) }
        while let (rank, position) = queue.pop() {
            let right = Int(scratch.next[position])
            guard scratch.symbols[position] != .max, right >= 0 else { continue }
            let merge = merge(scratch.symbols[position], scratch.symbols[right])
            // The pair was changed by a neighbour's merge: its new rank has its own entry.
            guard merge.rank == rank else { continue }
            scratch.symbols[position] = merge.id
            scratch.symbols[right] = .max
            let after = scratch.next[right]
            scratch.next[position] = after
            if after >= 0 { scratch.previous[Int(after)] = Int32(position) }
            push(position, scratch, &queue)
            push(Int(scratch.previous[position]), scratch, &queue)
        }
        var index = 0
        while index >= 0 {
            ids.append(Int(scratch.symbols[index]))
            index = Int(scratch.next[index])
        }
        if count > 1 << 20 { scratch = Scratch() }
    }

    private func push(_ position: Int, _ scratch: borrowing Scratch, _ queue: inout MergeQueue) {
        guard position >= 0, scratch.next[position] >= 0 else { return }
        let right = scratch.symbols[Int(scratch.next[position])]
        let rank = merge(scratch.symbols[position], right).rank
        if rank != .max { queue.push(rank: rank, position: position) }
    }
}
