/// The entries that sparse attention chose for the tokens of a batch.
///
/// A token has a choice where it would see more than `count` entries; the others see all.
public struct ChosenPositions: Sendable {
    /// Entries of one choice.
    public let count: Int
    /// `[tokens, count]`: ascending; zeros for tokens that see all.
    public var positions: [Int32]

    /// Room for the choices of this many tokens.
    public init(tokens: Int, count: Int) {
        precondition(tokens >= 0 && count > 0, "\(count) positions for \(tokens) tokens")
        self.count = count
        positions = [Int32](repeating: 0, count: tokens * count)
    }

    /// Puts the choices of a part of the tokens in their place.
    public mutating func replace(_ range: Range<Int>, with part: ChosenPositions) {
        precondition(
            part.count == count && part.positions.count == range.count * count,
            "\(part.positions.count) positions of \(part.count) for tokens \(range)")
        positions.replaceSubrange(
            range.lowerBound * count ..< range.upperBound * count, with: part.positions)
    }

    /// The choices of some of the tokens.
    func rows(_ range: Range<Int>) -> ChosenPositions {
        var part = ChosenPositions(tokens: 0, count: count)
        part.positions = Array(positions[range.lowerBound * count ..< range.upperBound * count])
        return part
    }

    /// Every position must be one that its token may see.
    func check(_ contexts: [Int32]) {
        precondition(
            positions.count == contexts.count * count,
            "\(positions.count) positions, \(count) for each of \(contexts.count) tokens")
        for (token, context) in contexts.enumerated() where Int(context) > count {
            for position in positions[token * count ..< (token + 1) * count] {
                precondition(
                    position >= 0 && position < context, "position \(position) of \(context)")
            }
        }
    }
}
