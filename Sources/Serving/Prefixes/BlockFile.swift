import Encoding
import Foundation

/// One cached block as a file: what it is the block of, its entries, and a digest of all that.
///
/// Little-endian: 8 bytes of magic with the version, the key (32), tokens and bytes of entries (8
/// each), the tokens (8 each), the entries of every layer, and the SHA-256 of all before it. A file
/// that was cut, torn or changed has another digest, so it needs no order of writes to be safe.
enum BlockFile {
    private static let magic: [UInt8] = Array("APUSKV01".utf8)
    private static let headBytes = magic.count + Digest.byteCount + 16

    /// Bytes of the file of a block.
    static func byteCount(tokens: Int, entryBytes: Int) -> Int {
        headBytes + 8 * tokens + entryBytes + Digest.byteCount
    }

    /// The bytes of the file.
    static func encode(key: PrefixKey, tokens: [Int], entries: [UInt8]) -> [UInt8] {
        var file: [UInt8] = []
        file.reserveCapacity(byteCount(tokens: tokens.count, entryBytes: entries.count))
        file += head(key, tokens, entryBytes: entries.count)
        file += entries
        file += Digest(of: file).bytes
        return file
    }

    /// The entries of the block with this key and these tokens; nil if the file holds another
    /// block, or is not whole.
    static func decode(
        _ file: [UInt8], key: PrefixKey, tokens: [Int], entryBytes: Int
    ) -> [UInt8]? {
        guard file.count == byteCount(tokens: tokens.count, entryBytes: entryBytes) else {
            return nil
        }
        let head = head(key, tokens, entryBytes: entryBytes)
        let end = file.count - Digest.byteCount
        guard file.starts(with: head),
            Digest(of: Array(file[..<end])).bytes == Array(file[end...])
        else { return nil }
        return Array(file[head.count ..< end])
    }

    private static func head(_ key: PrefixKey, _ tokens: [Int], entryBytes: Int) -> [UInt8] {
        magic + key.digest.bytes + PrefixKey.littleEndian(UInt64(tokens.count))
            + PrefixKey.littleEndian(UInt64(entryBytes))
            + tokens.flatMap { PrefixKey.littleEndian(UInt64(bitPattern: Int64($0))) }
    }
}
