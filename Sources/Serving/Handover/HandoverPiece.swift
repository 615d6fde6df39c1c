import Models
import Tensors

/// Where the bytes of one message of a link belong: the entries of one part of one block.
///
/// It travels before them, as eight words in the order of bytes that all machines of a job have.
struct HandoverPiece: Hashable, Sendable {
    var link: UInt64
    var request: RequestID
    var attempt: UInt64
    /// Which of the cache's parts.
    var part: Int
    /// Which block of the text, from its beginning.
    var block: Int
    /// Entries that follow.
    var tokens: Int
    /// Tokens of the prompt that the prefill rank found in its own cache.
    var cachedTokens: Int

    /// Tells a piece of this version from anything else.
    private static let mark: UInt64 = 0x3170_616e_6448_7041
    /// Bytes before the entries: one line of the processor's cache.
    static let headerBytes = 64

    /// Writes the header.
    func write(into bytes: inout MutableRawSpan) {
        let words = [
            Self.mark, link, request.rawValue, attempt, UInt64(part), UInt64(block),
            UInt64(tokens), UInt64(cachedTokens),
        ]
        for (index, word) in words.enumerated() {
            bytes.setWord(word, at: index * 8)
        }
    }

    init(
        link: UInt64, request: RequestID, attempt: UInt64, part: Int, block: Int, tokens: Int,
        cachedTokens: Int
    ) {
        self.link = link
        self.request = request
        self.attempt = attempt
        self.part = part
        self.block = block
        self.tokens = tokens
        self.cachedTokens = cachedTokens
    }

    /// Reads a header that another process wrote.
    ///
    /// - Returns: nil where a word lies outside of what the cache of this rank allows: no rank of
    ///   this job sends that.
    init?(_ bytes: RawSpan, link: UInt64, cache: BlockCache) {
        func word(_ index: Int) -> UInt64 { bytes.word(at: index * 8) }
        guard bytes.byteCount >= Self.headerBytes, word(0) == Self.mark, word(1) == link,
            word(4) < UInt64(cache.parts.count), word(5) < UInt64(cache.blockCount),
            (1 ... UInt64(cache.blockTokens)).contains(word(6)), word(7) <= UInt64(Int32.max)
        else { return nil }
        self.init(
            link: link, request: RequestID(rawValue: word(2)), attempt: word(3),
            part: Int(word(4)), block: Int(word(5)), tokens: Int(word(6)),
            cachedTokens: Int(word(7)))
    }
}
