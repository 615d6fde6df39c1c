/// Text that arrived and was not returned yet, because it may belong to a mark.
///
/// Marks are compared byte by byte: a combining character after a mark does not hide it.
struct HeldText {
    private(set) var bytes: [UInt8] = []

    var isEmpty: Bool { bytes.isEmpty }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    mutating func append(_ text: String) { bytes += text.utf8 }

    mutating func takeAll() -> String { take(bytes.count) }

    mutating func take(_ count: Int) -> String {
        defer { bytes.removeFirst(count) }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Where a mark begins first.
    func index(of mark: String) -> Int? {
        let mark = Array(mark.utf8)
        guard bytes.count >= mark.count else { return nil }
        return (0 ... bytes.count - mark.count).first { bytes[$0...].starts(with: mark) }
    }

    /// What stands before a mark, which goes too.
    mutating func take(through mark: String) -> String? {
        guard let start = index(of: mark) else { return nil }
        let before = take(start)
        bytes.removeFirst(mark.utf8.count)
        return before
    }

    mutating func takePrefix(_ mark: String) -> Bool {
        guard bytes.starts(with: mark.utf8) else { return false }
        bytes.removeFirst(mark.utf8.count)
        return true
    }

    mutating func takeSpace() -> String { take(bytes.prefix { CallForm.isSpace($0) }.count) }

    /// Whether more text can make one of these marks of this.
    func begins(_ marks: [String]) -> Bool { marks.contains { $0.utf8.starts(with: bytes) } }

    /// The text that cannot be the beginning of a mark.
    mutating func release(before marks: [String]) -> String? {
        let count = bytes.count - longestBeginning(of: marks)
        return count > 0 ? take(count) : nil
    }

    private func longestBeginning(of marks: [String]) -> Int {
        let longest = (marks.map(\.utf8.count).max() ?? 1) - 1
        return stride(from: min(longest, bytes.count), to: 0, by: -1).first { count in
            marks.contains { $0.utf8.starts(with: bytes.suffix(count)) }
        } ?? 0
    }
}
