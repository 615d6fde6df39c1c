import Glibc

/// Where the bytes of a put go.
@safe struct PutPlace {
    /// nil where they go nowhere.
    var target: UnsafeMutableRawPointer?
    /// Holds that memory until they are there.
    var memory: Region?
}

/// What takes in the puts of a stream.
protocol PutSink: AnyObject {
    /// Checks a header that came on a connection, and says where its bytes go.
    func place(_ header: PutHeader, on rail: Int) throws(PutFault) -> PutPlace
    /// The bytes of a header are where they go.
    func landed(_ header: PutHeader, on rail: Int) throws(PutFault)
}

/// Takes the bytes of a connection apart into puts: header, bytes, header, bytes.
///
/// Says where the next bytes are to be received, so that the kernel copies those of a put straight
/// into the window; makes no call itself.
///
/// Invariants:
/// 1. A header is checked before a byte that follows it is received anywhere but here.
/// 2. At most `bufferBytes` are held here, whatever a header promises.
@safe struct PutStream: ~Copyable {
    /// What one call may bring beyond the bytes of one put: several short puts, which are copied
    /// once more.
    static let bufferBytes = 32 << 10
    /// While more of a put than this is to come, only the next header is received behind it, so
    /// that the bytes of a long put are not copied twice.
    private static let longBytes = 16 << 10

    private let rail: Int
    private let buffer: UnsafeMutableRawPointer
    private var begin = 0
    private var end = 0
    private var header: PutHeader?
    private var place = PutPlace()
    private var left = 0

    /// - Parameter rail: What the sink knows the connection by.
    init(rail: Int) {
        self.rail = rail
        unsafe buffer = .allocate(byteCount: Self.bufferBytes, alignment: PutHeader.byteCount)
    }

    deinit { unsafe buffer.deallocate() }

    /// Fills two vectors with where the next bytes go, at most `limit` of one put; returns how many
    /// vectors, and the bytes.
    func vectors(
        into vectors: UnsafeMutableBufferPointer<iovec>, limit: Int
    ) -> (vectors: Int, bytes: Int) {
        let room = Self.bufferBytes - end
        guard let target = unsafe place.target, left > 0 else {
            unsafe vectors[0] = iovec(iov_base: buffer + end, iov_len: room)
            return (1, room)
        }
        unsafe vectors[0] = iovec(iov_base: target, iov_len: min(left, limit))
        if left > limit { return (1, limit) }
        let behind = left > Self.longBytes ? PutHeader.byteCount : room
        unsafe vectors[1] = iovec(iov_base: buffer + end, iov_len: behind)
        return (2, left + behind)
    }

    /// Takes note that so many bytes came to where `vectors` said, and hands on what is whole.
    mutating func took(_ count: Int, _ sink: some PutSink) throws(PutFault) {
        var count = count
        if unsafe place.target != nil {
            let direct = min(count, left)
            advance(direct)
            count -= direct
        }
        end += count
        precondition(end <= Self.bufferBytes, "\(end) bytes in a buffer of \(Self.bufferBytes)")
        while try step(sink) {}
        if begin == end {
            begin = 0
            end = 0
        } else if begin > 0 {
            unsafe memmove(buffer, buffer + begin, end - begin)
            end -= begin
            begin = 0
        }
    }

    private mutating func advance(_ count: Int) {
        left -= count
        if let target = unsafe place.target { unsafe place.target = target + count }
    }

    /// Takes a header or bytes out of the buffer; false if there are too few.
    private mutating func step(_ sink: some PutSink) throws(PutFault) -> Bool {
        guard let current = header else {
            guard end - begin >= PutHeader.byteCount else { return false }
            let bytes = unsafe RawSpan(
                _unsafeStart: buffer + begin, byteCount: PutHeader.byteCount)
            guard let next = PutHeader(decoding: bytes) else {
                throw PutFault(fact: "bytes that are no header")
            }
            begin += PutHeader.byteCount
            guard let length = Int(exactly: next.length), length <= WindowOffer.byteLimit else {
                throw PutFault(fact: "a length of \(next.length)")
            }
            place = try sink.place(next, on: rail)
            left = length
            header = next
            return true
        }
        let here = min(left, end - begin)
        if here > 0 {
            if let target = unsafe place.target { unsafe memcpy(target, buffer + begin, here) }
            begin += here
            advance(here)
        }
        if left > 0 { return false }
        header = nil
        place = PutPlace()
        try sink.landed(current, on: rail)
        return true
    }
}
