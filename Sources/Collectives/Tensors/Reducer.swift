public import Tensors
internal import Topology
public import Transport

/// Sums and gathers tensors over all ranks of a fabric.
///
/// Work goes chunk by chunk through two buffers. Of each chunk every rank owns one segment: it adds
/// that segment over the ranks, in rank order, and the others read the sum. So all ranks end with
/// the same bits, whatever arrived first.
///
/// All ranks call in the same order with the same shapes. A reducer belongs to one thread.
///
/// Invariants:
/// 1. A segment's sum is announced after its owner read everyone's part of it, so a part may be
///    overwritten once all sums of its chunk were announced.
/// 2. A rank offers chunk n + 1 after it copied the sums of chunk n, so an owner that has all
///    offers of n + 2 may overwrite its sum of n.
public final class Reducer {
    /// How long one collective may wait for other ranks.
    public let limit: Duration
    /// Values that travel at a time.
    public let chunkCount: Int

    private let fabric: any Fabric
    private let window: Window
    private let nodes: PerRank<Int>
    private let hasRemote: Bool
    private var sequence: UInt64 = 0

    /// 256 Ki values are 1 MiB of f32: a core's second-level cache.
    public static let defaultChunkCount = 1 << 18

    /// Makes the windows. Collective.
    ///
    /// - Parameter chunkCount: Values per chunk, the same on all ranks.
    public init(
        fabric: any Fabric, name: String = "reducer", chunkCount: Int = Reducer.defaultChunkCount,
        limit: Duration = .seconds(30)
    ) throws {
        precondition(chunkCount >= 1, "chunks of \(chunkCount) values")
        self.fabric = fabric
        self.limit = limit
        self.chunkCount = chunkCount
        nodes = PerRank(fabric.ranks.map { fabric.node(of: $0) })
        hasRemote = Set(nodes.values).count > 1
        let part = Self.partBytes(chunkCount)
        // Offered and summed of this rank; from each rank elsewhere, its offer and its sum.
        let parts = 2 * (2 + (hasRemote ? 2 * fabric.rankCount : 0))
        window = try fabric.makeWindow(
            name: name, byteCount: parts * part, signalCount: 4 * fabric.rankCount,
            stagingByteCount: hasRemote ? 4 * part : 0,
            deadline: fabric.deadline(limit, "making the windows of a reducer"))
    }

    /// Replaces every rank's values by their sum over the ranks.
    ///
    /// - Parameters:
    ///   - tensor: The same shape on all ranks.
    ///   - codec: How values travel; sums are made in f32.
    public func allReduce(_ tensor: Tensor, codec: RowCodec = .float32) throws {
        let flat = tensor.reshaped(rows: 1, columns: tensor.count)
        for start in stride(from: 0, to: tensor.count, by: chunkCount) {
            let range = start ..< min(start + chunkCount, tensor.count)
            try exchange(flat, range, codec, phase: "all-reduce") { rank in
                let segment = segment(rank, of: range)
                try sums(of: rank, segment.count, codec, into: flat, at: segment.lowerBound)
            }
        }
    }

    /// Gives every rank the rows of all, in rank order.
    ///
    /// - Parameters:
    ///   - tensor: `[rows, columns]`.
    ///   - all: `[ranks * rows, columns]`.
    public func allGather(_ tensor: Tensor, into all: Tensor, codec: RowCodec = .float32) throws {
        guard all.rows == fabric.rankCount * tensor.rows, all.columns == tensor.columns else {
            throw CollectivesError.shape(
                "gathered rows", found: [all.rows, all.columns],
                expected: [fabric.rankCount * tensor.rows, tensor.columns])
        }
        let flat = tensor.reshaped(rows: 1, columns: tensor.count)
        let target = all.reshaped(rows: 1, columns: all.count)
        let part = max(1, chunkCount / fabric.rankCount)
        for start in stride(from: 0, to: tensor.count, by: part) {
            let range = start ..< min(start + part, tensor.count)
            let row = Tensor(rows: 1, columns: range.count)
            copy(flat, range, into: row)
            try gather(codec.byteCount(columns: range.count)) {
                codec.encode(row.row(0), into: &$0)
            } take: { rank in
                let offset = rank.rawValue * tensor.count + range.lowerBound
                try sums(of: rank, range.count, codec, into: target, at: offset)
            }
        }
    }

    /// Gives every rank the numbers of all, to the bit, in rank order.
    ///
    /// - Parameter values: Equally many on all ranks.
    public func allGather(_ values: [Double]) throws -> [[Double]] {
        var all = [[Double]](repeating: [], count: fabric.rankCount)
        let part = max(1, chunkCount / 2)
        for start in stride(from: 0, to: values.count, by: part) {
            let range = start ..< min(start + part, values.count)
            try gather(8 * range.count) { bytes in
                for (place, value) in values[range].enumerated() {
                    bytes.setWord(value.bitPattern, at: 8 * place)
                }
            } take: { rank in
                try withPart(.sum, of: rank, reader: nil, 8 * range.count) { bytes in
                    all[rank.rawValue] += range.indices.map {
                        Double(bitPattern: bytes.word(at: 8 * ($0 - range.lowerBound)))
                    }
                }
            }
        }
        return all
    }

    // MARK: One chunk

    /// The values of a chunk that a rank adds up.
    private func segment(_ rank: Rank, of chunk: Range<Int>) -> Range<Int> {
        // Whole scales of a quantised row, and whole cache lines.
        let units = (chunk.count + 127) / 128
        let share = (units + fabric.rankCount - 1) / fabric.rankCount * 128
        let start = min(rank.rawValue * share, chunk.count)
        let end = min((rank.rawValue + 1) * share, chunk.count)
        return chunk.lowerBound + start ..< chunk.lowerBound + end
    }

    private func exchange(
        _ flat: Tensor, _ chunk: Range<Int>, _ codec: RowCodec, phase: StaticString,
        take: (Rank) throws -> Void
    ) throws {
        sequence += 1
        let deadline = fabric.deadline(limit, phase)
        try offer(flat, chunk, codec, deadline)
        let own = segment(fabric.rank, of: chunk)
        let sum = Tensor(rows: 1, columns: own.count)
        for rank in fabric.ranks {
            try arrival(.offer, from: rank, deadline)
            if own.isEmpty { continue }
            try withPart(.offer, of: rank, reader: fabric.rank, codec.byteCount(columns: own.count))
            {
                var row = sum.mutableRow(0)
                codec.accumulate($0, weight: 1, into: &row)
            }
        }
        try announce(own.isEmpty ? 0 : codec.byteCount(columns: own.count)) {
            codec.encode(sum.row(0), into: &$0)
        }
        for rank in fabric.ranks {
            try arrival(.sum, from: rank, deadline)
            try take(rank)
        }
    }

    private func gather(
        _ byteCount: Int, _ write: (inout MutableRawSpan) -> Void, take: (Rank) throws -> Void
    ) throws {
        sequence += 1
        let deadline = fabric.deadline(limit, "all-gather")
        if hasRemote { try window.flush(deadline: deadline) }
        // An empty offer keeps the order of the two buffers.
        for rank in fabric.ranks { try signal(.offer, at: rank) }
        for rank in fabric.ranks { try arrival(.offer, from: rank, deadline) }
        try announce(byteCount, write)
        for rank in fabric.ranks {
            try arrival(.sum, from: rank, deadline)
            try take(rank)
        }
    }

    private func copy(_ flat: Tensor, _ range: Range<Int>, into row: Tensor) {
        var target = row.mutableRow(0)
        RowCodec.float32.decode(flat.bytes, at: 4 * range.lowerBound, into: &target)
    }

    /// Writes each rank's segment where that rank reads it.
    private func offer(
        _ flat: Tensor, _ chunk: Range<Int>, _ codec: RowCodec, _ deadline: Deadline
    ) throws {
        if hasRemote { try window.flush(deadline: deadline) }
        for rank in fabric.ranks {
            let segment = segment(rank, of: chunk)
            if !segment.isEmpty {
                let row = Tensor(rows: 1, columns: segment.count)
                copy(flat, segment, into: row)
                let bytes = codec.byteCount(columns: segment.count)
                let offset = segmentOffset(rank)
                if isNeighbour(rank) {
                    let start = partOffset(.offer, from: nil) + offset
                    window.withMutableBytes(start ..< start + bytes) {
                        codec.encode(row.row(0), into: &$0)
                    }
                } else {
                    let start = stagingOffset(.offer) + offset
                    window.withStaging(start ..< start + bytes) {
                        codec.encode(row.row(0), into: &$0)
                    }
                    let there = partOffset(.offer, from: fabric.rank)
                    try window.put(start ..< start + bytes, to: rank, at: there)
                }
            }
            try signal(.offer, at: rank)
        }
    }

    /// Publishes what every rank reads of this one: its sum, or its part of a gathering.
    private func announce(_ bytes: Int, _ write: (inout MutableRawSpan) -> Void) throws {
        let own = partOffset(.sum, from: nil)
        if bytes > 0 { window.withMutableBytes(own ..< own + bytes, write) }
        let staged = stagingOffset(.sum) ..< stagingOffset(.sum) + bytes
        if hasRemote {
            window.withBytes(own ..< own + bytes) { sum in
                window.withStaging(staged) { $0.copy(sum, to: 0) }
            }
        }
        for rank in fabric.ranks {
            if !isNeighbour(rank), bytes > 0 {
                let there = partOffset(.sum, from: fabric.rank)
                try window.put(staged, to: rank, at: there)
            }
            try signal(.sum, at: rank)
        }
    }

    /// Decodes a rank's sum into a place of a flat tensor.
    private func sums(
        of rank: Rank, _ count: Int, _ codec: RowCodec, into flat: Tensor, at offset: Int
    ) throws {
        if count == 0 { return }
        let row = Tensor(rows: 1, columns: count)
        try withPart(.sum, of: rank, reader: nil, codec.byteCount(columns: count)) {
            var decoded = row.mutableRow(0)
            codec.decode($0, into: &decoded)
        }
        var target = flat.mutableBytes
        target.copy(row.bytes, to: 4 * offset)
    }

    // MARK: Places

    private enum Part: Int { case offer, sum }

    private func isNeighbour(_ rank: Rank) -> Bool { nodes[rank] == nodes[fabric.rank] }

    /// Room for a chunk in any codec, each segment rounded up.
    private static func partBytes(_ chunkCount: Int) -> Int {
        let scales = (chunkCount + 127) / 128 * 4
        return (chunkCount * 4 + scales + 4096 + 4095) / 4096 * 4096
    }

    /// A segment's place in an offer depends neither on the codec nor on the chunk's length.
    private func segmentOffset(_ rank: Rank) -> Int {
        segment(rank, of: 0 ..< chunkCount).lowerBound / 128 * (4 * 128)
    }

    /// Where a part lies in this rank's window: its own, or that of a rank elsewhere.
    private func partOffset(_ part: Part, from rank: Rank?) -> Int {
        let buffer = Int(sequence % 2)
        let index = rank.map { 2 + 2 * $0.rawValue + part.rawValue } ?? part.rawValue
        let parts = 2 + (hasRemote ? 2 * fabric.rankCount : 0)
        return (buffer * parts + index) * Self.partBytes(chunkCount)
    }

    private func stagingOffset(_ part: Part) -> Int {
        (Int(sequence % 2) * 2 + part.rawValue) * Self.partBytes(chunkCount)
    }

    /// Reads a rank's part, in its window or where it was put into ours.
    private func withPart(
        _ part: Part, of rank: Rank, reader: Rank?, _ byteCount: Int, _ body: (RawSpan) -> Void
    ) throws {
        let offset = reader.map { segmentOffset($0) } ?? 0
        if rank == fabric.rank {
            let start = partOffset(part, from: nil) + offset
            window.withBytes(start ..< start + byteCount, body)
        } else if isNeighbour(rank) {
            let start = partOffset(part, from: nil) + offset
            let found: Void? = window.withPeerBytes(of: rank, start ..< start + byteCount) {
                body($0.bytes)
            }
            precondition(found != nil, "stores do not reach \(rank) of this node")
        } else {
            let start = partOffset(part, from: rank)
            window.withBytes(start ..< start + byteCount, body)
        }
    }

    private func signal(_ part: Part, at rank: Rank) throws {
        let index = part.rawValue * fabric.rankCount + fabric.rank.rawValue
        try window.signal(index, of: rank, value: sequence)
    }

    private func arrival(_ part: Part, from rank: Rank, _ deadline: Deadline) throws {
        try window.wait(
            signal: part.rawValue * fabric.rankCount + rank.rawValue, atLeast: sequence,
            from: rank, deadline: deadline)
    }
}
