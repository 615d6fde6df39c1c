import Synchronization
import Tensors

/// What a conversion did to one matrix.
public struct RoundingError: Sendable, Equatable {
    /// The matrix, as its plain form is called.
    public let name: String
    /// The root of the mean square of the differences, over that of the values.
    public let relative: Double
}

/// Adds up the errors of matrices whose rows come in any order.
final class RoundingErrors: Sendable {
    private struct Sums {
        var differences = 0.0
        var values = 0.0
        var rows = 0
    }

    private let sums = Mutex<[String: Sums]>([:])
    private let report: @Sendable (RoundingError) -> Void

    /// - Parameter report: Called once per matrix, when all its rows came, by one thread at a time.
    init(_ report: @escaping @Sendable (RoundingError) -> Void) { self.report = report }

    /// Counts some rows of a matrix of so many.
    func add(_ name: String, rowCount: Int, before: Tensor, after: Tensor) {
        var differences = 0.0
        var values = 0.0
        let (old, new) = (before.span, after.span)
        for index in old.indices {
            let difference = Double(old[index] - new[index])
            differences += difference * difference
            values += Double(old[index]) * Double(old[index])
        }
        sums.withLock { sums in
            var sum = sums[name] ?? Sums()
            sum.differences += differences
            sum.values += values
            sum.rows += before.rows
            sums[name] = sum.rows < rowCount ? sum : nil
            guard sum.rows == rowCount else { return }
            let relative = sum.values > 0 ? (sum.differences / sum.values).squareRoot() : 0
            report(RoundingError(name: name, relative: relative))
        }
    }
}
