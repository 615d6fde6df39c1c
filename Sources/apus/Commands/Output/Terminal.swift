import Cluster

/// The terminal of this process.
enum Terminal {
    /// Lines that terminals have had since the VT100.
    private static let usualRows = 24

    /// Lines that it shows, as `stty` says; without an answer within a second, 24.
    static func rows() -> Int {
        guard
            let child = try? Child(
                Command(words: ["stty", "-F", "/dev/tty", "size"]), output: .captured)
        else { return usualRows }
        if child.wait(.seconds(1)) == nil { child.end(within: .zero) }
        let words = child.captured().output.split(whereSeparator: \.isWhitespace)
        return words.first.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } ?? usualRows
    }
}
