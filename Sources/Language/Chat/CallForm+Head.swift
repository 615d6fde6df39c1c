extension CallForm {
    /// What stands before the arguments of a call.
    enum Head: Hashable {
        /// More text decides.
        case unfinished
        /// Not a call in this form.
        case other
        /// A call whose arguments begin after `count` bytes, in a code fence or not.
        case call(name: String, count: Int, isFenced: Bool)
    }

    /// Reads the beginning of a call, after the mark that begins it.
    ///
    /// Any white space may stand between the parts, and the fence may be left out or stand beside
    /// them: models write all of it. The order of the parts is the form's own.
    ///
    /// - Parameter isWhole: Whether the call ends with these bytes.
    func head(of bytes: ArraySlice<UInt8>, isWhole: Bool) -> Head {
        switch self {
        case .keyed: return Self.keyedHead(of: bytes, isWhole: isWhole)
        case .marked, .invoked: return Self.markedHead(of: bytes, isWhole: isWhole)
        case .object: return Self.objectHead(of: bytes, isWhole: isWhole)
        case .tagged: return Self.taggedHead(of: bytes, isWhole: isWhole)
        case .channeled: return .other  // `ChannelReader` reads them
        case .fenced, .bare, .numbered: break
        }
        let separator = Array((CallMarks(self).separator ?? "").utf8)
        guard let cut = bytes.indices.first(where: { bytes[$0...].starts(with: separator) }) else {
            return isWhole ? .other : .unfinished
        }
        let first = Self.trimmed(bytes[..<cut])
        var cursor = cut + separator.count
        var name = first
        if self == .fenced {
            guard first.elementsEqual("function".utf8) else { return .other }
            Self.skip(bytes, &cursor, while: Self.isSpace)
            let start = cursor
            Self.skip(bytes, &cursor) { !Self.isSpace($0) && $0 != 0x60 && $0 != 0x7B }
            guard cursor < bytes.endIndex || isWhole else { return .unfinished }
            name = bytes[start ..< cursor]
        }
        if self == .numbered { name = Self.unnumbered(name) }
        guard !name.isEmpty, !name.contains(where: Self.isSpace) else { return .other }
        Self.skip(bytes, &cursor, while: Self.isSpace)
        var isFenced = false
        let fence = Array("```".utf8)
        if bytes[cursor...].starts(with: fence) {
            isFenced = true
            cursor += fence.count
            Self.skip(bytes, &cursor, while: Self.isWord)
            Self.skip(bytes, &cursor, while: Self.isSpace)
        } else if fence.starts(with: bytes[cursor...]), !isWhole {
            return .unfinished
        }
        let rest = bytes[cursor...]
        let isEmpty = isWhole && (rest.isEmpty || Self.trimmed(rest).elementsEqual(fence))
        guard isEmpty || rest.first == UInt8(ascii: "{") else {
            let mayClose = isFenced && fence.starts(with: rest)
            let isClosed = isFenced && rest.starts(with: fence)
            let last = isClosed ? rest.dropFirst(fence.count).drop(while: Self.isSpace) : rest
            let mayEnd = CallMarks(self).call.end.utf8.starts(with: last)
            return !isWhole && (mayClose || mayEnd) ? .unfinished : .other
        }
        return .call(
            name: String(decoding: name, as: UTF8.self), count: cursor - bytes.startIndex,
            isFenced: isFenced)
    }

    /// The name in `functions.name:7`; nothing where the number is missing.
    private static func unnumbered(_ words: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let colon = words.lastIndex(of: UInt8(ascii: ":")), colon + 1 < words.endIndex,
            words[(colon + 1)...].allSatisfy({ (0x30 ... 0x39).contains($0) })
        else { return [] }
        let prefix = Array("functions.".utf8)
        let name = words[..<colon]
        return name.starts(with: prefix) ? name.dropFirst(prefix.count) : name
    }

    /// A name that ends where the first key, or the end of the call, begins.
    private static func keyedHead(of bytes: ArraySlice<UInt8>, isWhole: Bool) -> Head {
        let mark = Array(GLMToken.beginKey.rawValue.utf8)
        let end = Array(GLMToken.endCall.rawValue.utf8)
        let cut = bytes.indices.first { bytes[$0...].starts(with: mark) }
        guard cut != nil || isWhole else {
            // A second word: the mark is spoken of, not used.
            let words = trimmed(bytes)
            let isName =
                words.firstIndex(where: isSpace).map { trimmed(words[$0...]) }
                .map { mark.starts(with: $0) || end.starts(with: $0) } ?? true
            return isName ? .unfinished : .other
        }
        return named(
            bytes[..<(cut ?? bytes.endIndex)], count: (cut ?? bytes.endIndex) - bytes.startIndex)
    }

    /// ` name="..."` and a closing bracket.
    private static func markedHead(of bytes: ArraySlice<UInt8>, isWhole: Bool) -> Head {
        guard let cut = bytes.firstIndex(of: UInt8(ascii: ">")) else {
            return isWhole ? .other : .unfinished
        }
        let words = bytes[..<cut].split(
            separator: UInt8(ascii: "\""), omittingEmptySubsequences: false)
        guard words.count == 3, trimmed(words[0]).elementsEqual("name=".utf8) else { return .other }
        return named(words[1], count: cut + 1 - bytes.startIndex)
    }

    static func named(_ words: ArraySlice<UInt8>, count: Int) -> Head {
        let name = trimmed(words)
        guard !name.isEmpty, !name.contains(where: isSpace) else { return .other }
        return .call(name: String(decoding: name, as: UTF8.self), count: count, isFenced: false)
    }

    static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (0x09 ... 0x0D).contains(byte)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x30 ... 0x39).contains(byte) || (0x41 ... 0x5A).contains(byte)
            || (0x61 ... 0x7A).contains(byte)
    }

    private static func skip(
        _ bytes: ArraySlice<UInt8>, _ cursor: inout Int, while condition: (UInt8) -> Bool
    ) {
        while cursor < bytes.endIndex, condition(bytes[cursor]) { cursor += 1 }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var bytes = bytes.drop(while: isSpace)
        while let last = bytes.last, isSpace(last) { bytes.removeLast() }
        return bytes
    }
}
