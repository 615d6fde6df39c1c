internal import Tensors
internal import Topology

/// Where everything lies in one rank's window, by direct calculation.
///
/// One window holds two buffers, each with these areas:
/// - *tokens*: this rank's own tokens, encoded; row t is token t. Ranks of its node read them here.
/// - *entries*: for each source rank, one entry per token that this rank's experts receive.
/// - *outputs*: for each source rank, the rows that go home, in the order of its entries.
/// - *received*: for each source on another node, the block of tokens that this rank carries.
/// - *returned*: rows that returned from carriers on other nodes.
///
/// Invariant: every rank computes the same map for a given owner, so an address never travels.
struct WindowMap: Sendable, Equatable {
    /// Encoded token, and room to the next.
    let tokenBytes: Int, tokenStride: Int
    /// Encoded output with its scalar, and room to the next.
    let outputBytes: Int, outputStride: Int
    /// One entry: its head word and `topK` pair words.
    let entryBytes: Int
    /// One token in a block: its entry, then its bytes.
    let slotBytes: Int
    /// Before the slots of a block: the sequence, the count and the base of the return rows.
    static let blockHeadBytes = 64
    /// Before the entries of a source: when it began.
    static let entriesHeadBytes = 64

    private let rowsPerToken: Int
    /// Room for rows that carriers bring home.
    private let returnedRows: Int
    private let bufferBytes: Int
    private let entriesOffset: Int, outputsOffset: Int, receivedOffset: Int, returnedOffset: Int
    /// By rank elsewhere: where the block from it begins among the received, and the block for it
    /// in staging, in blocks; -1 for none.
    private let blockIndex: PerRank<Int>
    private let stagingBufferBytes: Int
    private let stagedReturnOffset: Int
    let windowBytes: Int
    let stagingBytes: Int

    /// Rows are aligned to cache lines, so that two ranks never write one.
    static let alignment = 64

    /// The map of `map.rank`'s window.
    init(_ configuration: ExpertParallelConfiguration, map: RankMap, expertsPerRank: Int) {
        let hidden = configuration.hiddenSize
        let tokens = configuration.maximumTokensPerRank
        tokenLimit = tokens
        tokenBytes = configuration.dispatchCodec.byteCount(columns: hidden)
        tokenStride = Self.aligned(tokenBytes)
        outputBytes =
            configuration.combineCodec.byteCount(columns: hidden)
            + (configuration.carriesScalars ? 4 : 0)
        outputStride = Self.aligned(outputBytes)
        entryBytes = 8 * (1 + configuration.topK)
        slotBytes = (entryBytes + tokenBytes + 7) / 8 * 8
        rowsPerToken =
            configuration.addsBeforeReturn
            ? 1 : max(1, min(configuration.topK, expertsPerRank))

        // Masks change who carries what, so every source elsewhere has its place.
        var index = 0
        blockIndex = PerRank(
            map.ranks.map { rank in
                let isRemote = !map.share(rank, map.rank)
                defer { index += isRemote ? 1 : 0 }
                return isRemote ? index : -1
            })
        let blockBytes = Self.blockHeadBytes + tokens * slotBytes
        let ranks = map.rankCount
        entriesOffset = Self.aligned(tokens * tokenStride)
        outputsOffset =
            entriesOffset
            + ranks * Self.aligned(Self.entriesHeadBytes + tokens * entryBytes)
        receivedOffset = outputsOffset + ranks * tokens * rowsPerToken * outputStride
        returnedOffset = receivedOffset + index * Self.aligned(blockBytes)
        returnedRows = index > 0 ? tokens * configuration.topK : 0
        bufferBytes = returnedOffset + returnedRows * outputStride
        windowBytes = ExpertParallelConfiguration.bufferCount * bufferBytes

        stagedReturnOffset = index * Self.aligned(blockBytes)
        let relayedRows = index * tokens * (configuration.addsBeforeReturn ? 1 : configuration.topK)
        stagingBufferBytes = stagedReturnOffset + relayedRows * outputStride
        stagingBytes = ExpertParallelConfiguration.bufferCount * stagingBufferBytes
        returnRowsPerToken = configuration.addsBeforeReturn ? 1 : configuration.topK
    }

    private let returnRowsPerToken: Int

    static func aligned(_ bytes: Int) -> Int { (bytes + alignment - 1) / alignment * alignment }

    /// The bytes of token `row`.
    func token(_ buffer: Int, _ row: Int) -> Range<Int> { tokens(buffer)[row] }

    /// Where this rank's own tokens lie.
    func tokens(_ buffer: Int) -> RowPlaces {
        RowPlaces(
            start: buffer * bufferBytes, stride: tokenStride, byteCount: tokenBytes,
            rowCount: tokenLimit)
    }

    /// The head and entries of a source.
    func entries(_ buffer: Int, from source: Rank, count: Int) -> Range<Int> {
        let stride = Self.aligned(Self.entriesHeadBytes + tokenLimit * entryBytes)
        let start = buffer * bufferBytes + entriesOffset + source.rawValue * stride
        return start ..< start + Self.entriesHeadBytes + count * entryBytes
    }

    /// The bytes of one output row for a source.
    func output(_ buffer: Int, to source: Rank, _ row: Int) -> Range<Int> {
        outputs(buffer, to: source)[row]
    }

    /// Where the output rows for a source lie.
    func outputs(_ buffer: Int, to source: Rank) -> RowPlaces {
        let start = source.rawValue * tokenLimit * rowsPerToken * outputStride
        return RowPlaces(
            start: buffer * bufferBytes + outputsOffset + start, stride: outputStride,
            byteCount: outputBytes, rowCount: tokenLimit * rowsPerToken)
    }

    /// The block of a source elsewhere, with room for `count` tokens.
    func block(_ buffer: Int, from source: Rank, count: Int) -> Range<Int> {
        let stride = Self.aligned(Self.blockHeadBytes + tokenLimit * slotBytes)
        let start = buffer * bufferBytes + receivedOffset + blockIndex[source] * stride
        return start ..< start + Self.blockHeadBytes + count * slotBytes
    }

    /// Where the tokens of a received block lie.
    func carried(_ buffer: Int, from source: Rank) -> RowPlaces {
        let block = block(buffer, from: source, count: 0).lowerBound
        return RowPlaces(
            start: block + Self.blockHeadBytes + entryBytes, stride: slotBytes,
            byteCount: tokenBytes, rowCount: tokenLimit)
    }

    /// Where the rows lie that carriers brought home.
    func returned(_ buffer: Int) -> RowPlaces {
        RowPlaces(
            start: buffer * bufferBytes + returnedOffset, stride: outputStride,
            byteCount: outputBytes, rowCount: returnedRows)
    }

    /// Where the block for a carrier is put together.
    func stagedBlock(_ buffer: Int, to carrier: Rank, count: Int) -> Range<Int> {
        let stride = Self.aligned(Self.blockHeadBytes + tokenLimit * slotBytes)
        let start = buffer * stagingBufferBytes + blockIndex[carrier] * stride
        return start ..< start + Self.blockHeadBytes + count * slotBytes
    }

    /// Where rows for a source elsewhere are put together.
    func stagedReturn(_ buffer: Int, to source: Rank, _ row: Int) -> Range<Int> {
        let index = blockIndex[source] * tokenLimit * returnRowsPerToken + row
        let start = buffer * stagingBufferBytes + stagedReturnOffset + index * outputStride
        return start ..< start + outputBytes
    }

    /// Most entries that a source may announce.
    let tokenLimit: Int
}
