/// The pairs of a long piece that could merge: lowest rank first, then leftmost.
///
/// A piece that fits the caches uses a binary heap. A larger one has a bucket per rank, sorted
/// when its turn comes: its positions are then visited in order of memory, where a heap of ten
/// million entries would miss the cache at every step.
struct MergeQueue {
    /// Up to here the heap (8 bytes an entry) stays in a second-level cache.
    private static let heapLimit = 1 << 15

    private let usesBuckets: Bool

    /// A binary heap: rank in the high half, position in the low, so one comparison orders both.
    private var heap: [UInt64] = []

    /// Positions by rank.
    ///
    /// No bucket below `lowest` holds any.
    private var buckets: [[Int32]] = []
    private var lowest = 0
    /// The bucket of rank `lowest` in order, and how much of it is done.
    private var current: [Int32] = []
    private var currentIndex = 0

    init(rankLimit: Int, positionCount: Int) {
        usesBuckets = positionCount > Self.heapLimit
        if usesBuckets { buckets = Array(repeating: [], count: rankLimit) }
    }

    mutating func push(rank: UInt32, position: Int) {
        guard usesBuckets else {
            pushHeap(UInt64(rank) << 32 | UInt64(position))
            return
        }
        if rank < lowest {
            // The rest of the bucket in hand waits until its rank's turn comes again.
            buckets[lowest].append(contentsOf: current[currentIndex...])
            current = []
            currentIndex = 0
            lowest = Int(rank)
        }
        buckets[Int(rank)].append(Int32(position))
    }

    mutating func pop() -> (rank: UInt32, position: Int)? {
        guard usesBuckets else {
            return popHeap().map { (UInt32($0 >> 32), Int($0 & 0xFFFF_FFFF)) }
        }
        while currentIndex == current.count {
            while lowest < buckets.count, buckets[lowest].isEmpty { lowest += 1 }
            guard lowest < buckets.count else { return nil }
            current = buckets[lowest]
            buckets[lowest] = []
            current.sort()
            currentIndex = 0
        }
        currentIndex += 1
        return (UInt32(lowest), Int(current[currentIndex - 1]))
    }

    private mutating func pushHeap(_ entry: UInt64) {
        heap.append(entry)
        var index = heap.count - 1
        while index > 0, heap[(index - 1) / 2] > entry {
            heap[index] = heap[(index - 1) / 2]
            index = (index - 1) / 2
        }
        heap[index] = entry
    }

    private mutating func popHeap() -> UInt64? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        var index = 0
        while true {
            var child = index * 2 + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < last else { break }
            heap[index] = heap[child]
            index = child
        }
        heap[index] = last
        return first
    }
}
