import Encoding

/// The tokens of a model and their ids: text to id by hashing, id to text by offset.
///
/// All text lies in one array, so that 128,000 tokens are a few allocations, not as many.
struct Vocabulary: Sendable {
    /// Far above published vocabularies (129,280; 163,840); keeps a lying id from claiming memory.
    static let maximumTokenCount = 1 << 22

    private var storage: [UInt8] = []
    /// Where a token's text lies in `storage`; empty for an id that no token has.
    private var ranges: [Range<UInt32>] = []
    /// Open addressing by hash; `-1` is free.
    private var slots: [Int32] = Array(repeating: -1, count: 1024)
    private(set) var tokenCount = 0

    /// One more than the largest id.
    var idLimit: Int { ranges.count }

    /// Adds a token.
    ///
    /// Nil when done; else the fact that forbids it.
    mutating func insert(_ text: [UInt8], id: Int) -> String? {
        let name = String(decoding: text, as: UTF8.self).printable()
        guard 0 ..< Self.maximumTokenCount ~= id else {
            return "token \"\(name)\" has id \(id); ids go from 0 to \(Self.maximumTokenCount - 1)"
        }
        guard !text.isEmpty else { return "the token of id \(id) is empty" }
        guard storage.count + text.count <= Int(Int32.max) else {
            return "the tokens' text is longer than \(Int32.max) bytes"
        }
        if let other = self.id(of: text) { return "token \"\(name)\" has ids \(other) and \(id)" }
        while ranges.count <= id { ranges.append(0 ..< 0) }
        if !ranges[id].isEmpty {
            return "id \(id) belongs to \"\(self.name(id).printable())\" and \"\(name)\""
        }
        let start = UInt32(storage.count)
        storage.append(contentsOf: text)
        ranges[id] = start ..< UInt32(storage.count)
        tokenCount += 1
        if tokenCount * 2 > slots.count { grow() }
        slots[freeSlot(for: text[...])] = Int32(id)
        return nil
    }

    func id(of text: [UInt8]) -> Int? {
        var slot = Self.hash(text[...]) & (slots.count - 1)
        while slots[slot] >= 0 {
            let id = Int(slots[slot])
            if self.text(id).elementsEqual(text) { return id }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// The token's text as the file spells it; empty for an id that no token has.
    func text(_ id: Int) -> ArraySlice<UInt8> {
        guard ranges.indices.contains(id) else { return [] }
        return storage[Int(ranges[id].lowerBound) ..< Int(ranges[id].upperBound)]
    }

    func name(_ id: Int) -> String { String(decoding: text(id), as: UTF8.self) }

    private func freeSlot(for text: ArraySlice<UInt8>) -> Int {
        var slot = Self.hash(text) & (slots.count - 1)
        while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private mutating func grow() {
        slots = Array(repeating: -1, count: slots.count * 2)
        for id in ranges.indices where !ranges[id].isEmpty {
            let slot = freeSlot(for: text(id))
            slots[slot] = Int32(id)
        }
    }

    /// FNV-1a, folded: the files are read once, so a flood of collisions only costs its author.
    private static func hash(_ text: ArraySlice<UInt8>) -> Int {
        let hash = FNV1a.hash(text)
        return Int(truncatingIfNeeded: hash ^ (hash >> 29)) & Int.max
    }
}
