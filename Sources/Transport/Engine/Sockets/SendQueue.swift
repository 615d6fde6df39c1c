import Glibc

/// The puts that a connection has yet to take, in order: their headers here, their bytes where they
/// are staged.
@safe struct SendQueue: ~Copyable {
    /// Puts that may wait; more wait in front of the queue.
    static let capacity = 1024
    /// Places that puts leave to messages without bytes, so that a rank can always say goodbye.
    private static let reserve = 8

    @safe private struct Entry {
        var source: UnsafeRawPointer?
        var count = 0
        /// Holds the memory at `source` until the connection has taken it.
        var memory: Region?
        /// Whether somebody counts it as outstanding.
        var isCounted = false
    }

    private let headers: UnsafeMutableRawPointer
    private var entries: [Entry]
    private var first = 0
    private(set) var count = 0
    /// Bytes that wait, headers included.
    private(set) var byteCount = 0
    /// Bytes of the first entry, header included, that the connection has taken.
    private var taken = 0

    init() {
        unsafe headers = .allocate(
            byteCount: Self.capacity * PutHeader.byteCount, alignment: PutHeader.byteCount)
        entries = Array(repeating: Entry(), count: Self.capacity)
    }

    deinit { unsafe headers.deallocate() }

    var isEmpty: Bool { count == 0 }
    /// Puts that can be taken.
    var freeCount: Int { max(0, Self.capacity - Self.reserve - count) }
    /// Whether a message without bytes can be taken.
    var hasRoom: Bool { count < Self.capacity }

    /// Takes a header, and where its bytes are.
    ///
    /// - Precondition: there is room.
    mutating func append(
        _ header: PutHeader, _ source: UnsafeRawPointer?, _ byteCount: Int, _ memory: Region?,
        isCounted: Bool
    ) {
        precondition(count < Self.capacity, "a queue of \(Self.capacity) puts is full")
        let place = (first + count) % Self.capacity
        var bytes = unsafe MutableRawSpan(
            _unsafeStart: headers + place * PutHeader.byteCount, byteCount: PutHeader.byteCount)
        header.encode(into: &bytes)
        unsafe entries[place] = Entry(
            source: source, count: byteCount, memory: memory, isCounted: isCounted)
        count += 1
        self.byteCount += PutHeader.byteCount + byteCount
    }

    /// Fills vectors with what comes next, at most `limit` bytes; returns how many, and the bytes.
    func gather(
        into vectors: UnsafeMutableBufferPointer<iovec>, limit: Int
    ) -> (vectors: Int, bytes: Int) {
        var filled = 0
        var bytes = 0
        var skip = taken
        for index in 0 ..< count where filled + 2 <= vectors.count && bytes < limit {
            let place = (first + index) % Self.capacity
            if skip < PutHeader.byteCount {
                let length = PutHeader.byteCount - skip
                unsafe vectors[filled] = iovec(
                    iov_base: headers + place * PutHeader.byteCount + skip, iov_len: length)
                filled += 1
                bytes += length
                skip = 0
            } else {
                skip -= PutHeader.byteCount
            }
            let left = min(entries[place].count - skip, limit - bytes)
            if left > 0, let source = unsafe entries[place].source {
                unsafe vectors[filled] = iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: source + skip), iov_len: left)
                filled += 1
                bytes += left
            }
            skip = 0
        }
        return (filled, bytes)
    }

    /// Takes note that the connection has taken bytes; returns how many counted entries that ended.
    mutating func took(_ bytes: Int) -> Int {
        var ended = 0
        taken += bytes
        byteCount -= bytes
        while count > 0 {
            let length = PutHeader.byteCount + entries[first].count
            if taken < length { break }
            taken -= length
            if entries[first].isCounted { ended += 1 }
            entries[first].memory = nil
            first = (first + 1) % Self.capacity
            count -= 1
        }
        precondition(count > 0 || taken == 0, "\(taken) bytes more than were queued")
        return ended
    }
}
