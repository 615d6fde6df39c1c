import Cluster

/// The terminal of this process.
enum Terminal {
    /// Lines and columns that terminals have had since the VT100.
    private static let usual = (rows: 24, columns: 80)

    /// What it shows, as `stty` says; without an answer within a second, 24 lines of 80 characters.
    static func size() -> (rows: Int, columns: Int) {
        guard
            let child = try? Child(
                Command(words: ["stty", "-F", "/dev/tty", "size"]), output: .captured)
        else { return usual }
        if child.wait(.seconds(1)) == nil { child.end(within: .zero) }
        let words = child.captured().output.split(whereSeparator: \.isWhitespace)
        let numbers = words.compactMap { Int($0) }.filter { $0 > 0 }
        return numbers.count == 2 ? (rows: numbers[0], columns: numbers[1]) : usual
    }
}
