import Foundation

/// What a tokenizer does to a text before it cuts words.
enum Normalizer: Sendable {
    case none
    /// Unicode's canonical composition (UAX #15).
    case nfc

    /// The text in this form.
    func normalize(_ text: ArraySlice<UInt8>) -> [UInt8] {
        guard self == .nfc, !Self.isComposed(text) else { return Array(text) }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var known = String.UnicodeScalarView()
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            if Self.isKnown(scalar) {
                known.append(scalar)
            } else {
                result += String(known).precomposedStringWithCanonicalMapping.utf8
                result += String(scalar).utf8
                known = String.UnicodeScalarView()
            }
        }
        return result + Array(String(known).precomposedStringWithCanonicalMapping.utf8)
    }

    /// The Unicode that Hugging Face's normaliser knows: to it, later characters compose with
    /// nothing and keep their place.
    private static let newest: (Int, Int) = (9, 0)

    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        guard scalar.value >= 0x300 else { return true }
        guard let age = scalar.properties.age else { return false }
        return age <= newest
    }

    /// Whether a text is composed, seen from its bytes alone: Latin, and the scripts of which no
    /// character changes (kana but for its marks, ideographs, Hangul syllables).
    private static func isComposed(_ text: ArraySlice<UInt8>) -> Bool {
        var index = text.startIndex
        while index < text.endIndex {
            let lead = text[index]
            switch lead {
            case 0 ..< 0x80: index += 1
            // U+0300, the first combining mark, has the lead CC.
            case 0x80 ..< 0xCC: index += 2
            case 0xE3 ..< 0xEE:
                let point =
                    Int(lead & 0xF) << 12 | Int(text[index + 1] & 0x3F) << 6
                    | Int(text[index + 2] & 0x3F)
                let isFixed =
                    (0x3400 ..< 0x4DC0).contains(point) || (0x4E00 ..< 0x9FA6).contains(point)
                    || (0xAC00 ..< 0xD7A4).contains(point) || (0x3030 ..< 0x3099).contains(point)
                    || (0x309B ..< 0x3100).contains(point) || (0x3000 ..< 0x302A).contains(point)
                guard isFixed else { return false }
                index += 3
            default: return false
            }
        }
        return true
    }
}
