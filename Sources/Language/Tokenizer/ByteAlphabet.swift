/// The 256 characters in which byte-level tokenizers write bytes, so that a vocabulary is text.
///
/// Printable Latin-1 characters stand for themselves; the other bytes, in order, for U+0100 on.
enum ByteAlphabet {
    /// The code point of each byte.
    static let points: [UInt32] = {
        var next: UInt32 = 0x100
        return (0 ..< 256 as Range<UInt32>).map { byte in
            if 0x21 ... 0x7E ~= byte || 0xA1 ... 0xAC ~= byte || 0xAE ... 0xFF ~= byte {
                return byte
            }
            defer { next += 1 }
            return next
        }
    }()

    /// The byte of each code point below 0x144, -1 where there is none.
    private static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, point) in points.enumerated() { bytes[Int(point)] = Int16(byte) }
        return bytes
    }()

    /// The bytes that a token's text stands for, appended to `result`.
    ///
    /// Text with a character outside the alphabet (an added token's) stands for itself.
    ///
    /// - Returns: Whether all of the text is in the alphabet.
    @discardableResult
    static func decode(_ text: ArraySlice<UInt8>, into result: inout [UInt8]) -> Bool {
        let start = result.count
        var index = text.startIndex
        while index < text.endIndex {
            let lead = text[index]
            var point = Int(lead)
            index += 1
            // The alphabet lies below U+0800: one or two bytes of UTF-8.
            if lead >= 0x80 {
                guard lead < 0xE0, index < text.endIndex else { point = .max; break }
                point = Int(lead & 0x1F) << 6 | Int(text[index] & 0x3F)
                index += 1
            }
            guard point < bytes.count, bytes[point] >= 0 else {
                result.removeSubrange(start...)
                result.append(contentsOf: text)
                return false
            }
            result.append(UInt8(bytes[point]))
        }
        if index < text.endIndex {
            result.removeSubrange(start...)
            result.append(contentsOf: text)
            return false
        }
        return true
    }
}
