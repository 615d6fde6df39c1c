import Foundation

/// Round numbers along an axis.
///
/// Steps are 1, 2 or 5 times a power of ten (Heckbert 1990, Nice Numbers for Graph Labels).
struct Ticks {
    /// From one tick to the next.
    let step: Double
    /// All ticks of the range, rising.
    let values: [Double]

    /// - Parameters:
    ///   - count: The most ticks that have room.
    ///   - wholeNumbers: Whether half a unit means nothing, as half a step of training.
    init(_ range: ClosedRange<Double>, atMost count: Int, wholeNumbers: Bool = false) {
        precondition(count >= 2, "\(count) ticks are no axis")
        let width = max(range.upperBound - range.lowerBound, .leastNormalMagnitude)
        var power = pow(10, floor(log10(width / Double(count - 1))))
        if wholeNumbers { power = max(power, 1) }
        let steps = [1, 2, 5, 10, 20].map { $0 * power }
        let chosen = steps.map { Ticks(step: $0, over: range) }.first { $0.values.count <= count }
        self = chosen ?? Ticks(step: steps[4], over: range)
    }

    private init(step: Double, over range: ClosedRange<Double>) {
        self.step = step
        let first = (range.lowerBound / step - 1e-9).rounded(.up)
        let last = (range.upperBound / step + 1e-9).rounded(.down)
        values = first > last ? [] : stride(from: first, through: last, by: 1).map { $0 * step }
    }

    /// The smallest range of whole steps that holds another, and its ticks.
    func covering(_ range: ClosedRange<Double>) -> (ticks: Ticks, range: ClosedRange<Double>) {
        let low = (range.lowerBound / step + 1e-9).rounded(.down) * step
        let high = max(low + step, (range.upperBound / step - 1e-9).rounded(.up) * step)
        return (Ticks(step: step, over: low ... high), low ... high)
    }

    /// A tick as people write it, with no more digits than tell it from its neighbour.
    func label(_ value: Double) -> String {
        let digits = max(0, Int(-floor(log10(step) + 1e-9)))
        let text = String(format: "%.\(digits)f", abs(value) < step / 2 ? 0 : value)
        return value < -step / 2 ? text.replacing("-", with: "\u{2212}") : text
    }
}
