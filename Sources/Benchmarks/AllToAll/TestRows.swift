import Encoding
import Tensors
import Topology

/// Rows that anyone can make again: what rank r sent as token t in round n, to the last byte.
///
/// A row is one of a few patterns times a power of two, which changes no encoded digit, with a
/// first tile drawn from the row's own name. So a receiver checks every byte by comparing memory,
/// and a row that went to the wrong place has the wrong first tile.
final class TestRows {
    let hidden: Int
    let codec: RowCodec
    private let patterns: Tensor
    /// One row before it is encoded.
    private let values: Tensor
    private let tile = Tensor(rows: 1, columns: TestRows.tileCount)
    private let tileBytes = Tensor(rows: 1, columns: TestRows.tileCount + 8)
    /// Every pattern at every power, encoded.
    private let encoded: Tensor
    private let seed: UInt64

    /// Odd, so that it shares no factor with counts of tokens or experts.
    private static let patternCount = 31
    private static let powers: [Float] = [0.25, 0.5, 1, 2]
    /// One tile of scales: the part that is a row's own.
    private static let tileCount = 128

    init(hidden: Int, codec: RowCodec, seed: UInt64) {
        self.hidden = hidden
        self.codec = codec
        self.seed = seed
        patterns = Tensor(rows: Self.patternCount, columns: hidden)
        values = Tensor(rows: 1, columns: hidden)
        var random = SplitMix64(seed: seed)
        for row in 0 ..< Self.patternCount {
            for column in 0 ..< hidden { patterns[row, column] = Self.value(&random) }
        }
        let rows = Self.patternCount * Self.powers.count
        encoded = Tensor(rows: rows, columns: (codec.byteCount(columns: hidden) + 3) / 4)
        let scratch = Tensor(rows: 1, columns: hidden)
        for row in 0 ..< rows {
            let power = Self.powers[row % Self.powers.count]
            for column in 0 ..< hidden {
                scratch[0, column] = patterns[row / Self.powers.count, column] * power
            }
            var bytes = encoded.view(rows: row ..< row + 1).mutableBytes
            codec.encode(scratch.row(0), into: &bytes)
        }
    }

    /// Exact in bf16, so that rows are the same whichever way they rest.
    private static func value(_ random: inout SplitMix64) -> Float {
        Float(bitPattern: Float(random.uniform() * 2 - 1).bitPattern & 0xffff_0000)
    }

    private func random(_ round: Int, _ rank: Rank, _ token: Int) -> SplitMix64 {
        SplitMix64(
            seed: seed &+ UInt64(round) &<< 44 &+ UInt64(rank.rawValue) &<< 28 &+ UInt64(token))
    }

    /// Which encoded row a name has, and its own tile.
    private func draw(_ round: Int, _ rank: Rank, _ token: Int) -> Int {
        let tile = tile
        var random = random(round, rank, token)
        let row = Int(random.next() % UInt64(Self.patternCount * Self.powers.count))
        let count = min(Self.tileCount, hidden)
        var floats = tile.mutableSpan
        for column in 0 ..< count { floats[column] = Self.value(&random) }
        return row
    }

    /// Fills `tokens` with the rows of a rank.
    func fill(_ tokens: EncodedRows, round: Int, rank: Rank) {
        let (patterns, tile, values) = (patterns, tile, values)
        let count = min(Self.tileCount, hidden)
        for token in 0 ..< tokens.rows {
            let row = draw(round, rank, token)
            let pattern = patterns.row(row / Self.powers.count)
            let power = Self.powers[row % Self.powers.count]
            var target = values.mutableRow(0)
            for column in 0 ..< count { target[column] = tile[0, column] }
            for column in count ..< hidden { target[column] = pattern[column] * power }
            var bytes = tokens.mutableRow(token)
            tokens.codec.encode(values.row(0), into: &bytes)
        }
    }

    /// Whether encoded bytes are those of a row.
    func matches(_ bytes: RawSpan, round: Int, rank: Rank, token: Int) -> Bool {
        let (tile, tileBytes) = (tile, tileBytes)
        let row = draw(round, rank, token)
        let count = min(Self.tileCount, hidden)
        var own = tileBytes.mutableBytes
        codec.encode(tile.view(count), into: &own)
        let expected = encoded.view(rows: row ..< row + 1)
        switch codec {
        case .float32, .bfloat16:
            let size = codec.byteCount(columns: count)
            let rest = codec.byteCount(columns: hidden) - size
            return bytes.holdsSameBytes(at: 0, as: tileBytes.bytes, at: 0, count: size)
                && bytes.holdsSameBytes(at: size, as: expected.bytes, at: size, count: rest)
        case .float8e4m3:
            let scales = (hidden + 3) / 4 * 4
            let scaleBytes = codec.byteCount(columns: hidden) - scales
            let ownScale = (count + 3) / 4 * 4
            return bytes.holdsSameBytes(at: 0, as: tileBytes.bytes, at: 0, count: count)
                && bytes.holdsSameBytes(
                    at: count, as: expected.bytes, at: count, count: hidden - count)
                && bytes.holdsSameBytes(at: scales, as: tileBytes.bytes, at: ownScale, count: 4)
                && bytes.holdsSameBytes(
                    at: scales + 4, as: expected.bytes, at: scales + 4, count: scaleBytes - 4)
        }
    }

    /// The row as a receiver decodes it.
    func decoded(round: Int, rank: Rank, token: Int, into target: Tensor) {
        let (tile, tileBytes) = (tile, tileBytes)
        let row = draw(round, rank, token)
        let count = min(Self.tileCount, hidden)
        let pattern = encoded.view(rows: row ..< row + 1)
        var rest = target.mutableRow(0)
        codec.decode(pattern.bytes, into: &rest)
        var own = tileBytes.mutableBytes
        codec.encode(tile.view(count), into: &own)
        let first = Tensor(rows: 1, columns: count)
        var decodedTile = first.mutableRow(0)
        codec.decode(tileBytes.bytes, into: &decodedTile)
        for column in 0 ..< count { rest[column] = decodedTile[column] }
    }
}

extension Tensor {
    /// The first values of a tensor of one row.
    @_lifetime(borrow self)
    fileprivate func view(_ count: Int) -> Span<Float> { span.extracting(0 ..< count) }
}
