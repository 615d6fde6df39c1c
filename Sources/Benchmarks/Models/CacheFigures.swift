import Foundation

/// How the logits of a text with one cache differ from those with another.
public struct CacheFigures: Codable, Sendable {
    /// Tokens before the last row that was compared, that one included.
    public var depth: Int
    /// Rows that were compared, the last ones before the depth.
    public var rows = 0
    /// The largest difference of a logit, and its root mean square.
    public var largest = 0.0
    public private(set) var rootMeanSquare = 0.0
    /// The standard deviation of the reference's logits of a row, mean of rows.
    public private(set) var spread = 0.0
    /// Kullback-Leibler divergence of the next token's chances from the reference's, in nats, mean
    /// of rows.
    public private(set) var divergence = 0.0
    /// The share of rows whose likeliest token is the reference's.
    public private(set) var agreement = 0.0

    init(depth: Int) { self.depth = depth }

    /// Takes the logits of one more row.
    mutating func add(_ row: [Float], reference: [Float]) {
        precondition(row.count == reference.count, "\(row.count) logits, \(reference.count)")
        var squares = 0.0
        for (value, expected) in zip(row, reference) {
            let difference = Double(value) - Double(expected)
            squares += difference * difference
            largest = max(largest, abs(difference))
        }
        let count = Double(row.count)
        let mean = reference.reduce(0) { $0 + Double($1) } / count
        let variance =
            reference.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / count
        note(\.spread, variance.squareRoot())
        note(\.divergence, Self.divergence(of: row, from: reference))
        note(\.agreement, Self.likeliest(row) == Self.likeliest(reference) ? 1 : 0)
        let before = rootMeanSquare * rootMeanSquare * Double(rows)
        rootMeanSquare = ((before + squares / count) / Double(rows + 1)).squareRoot()
        rows += 1
    }

    /// Takes one more value into a mean of rows.
    private mutating func note(_ mean: WritableKeyPath<CacheFigures, Double>, _ value: Double) {
        self[keyPath: mean] += (value - self[keyPath: mean]) / Double(rows + 1)
    }

    private static func likeliest(_ row: [Float]) -> Int? {
        row.indices.max { row[$0] < row[$1] }
    }

    /// `sum p (log p - log q)` of the two rows' softmax, p of the reference.
    private static func divergence(of row: [Float], from reference: [Float]) -> Double {
        let (p, q) = (logChances(reference), logChances(row))
        return zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    }

    private static func logChances(_ row: [Float]) -> [Double] {
        let top = Double(row.max() ?? 0)
        let sum = row.reduce(0) { $0 + exp(Double($1) - top) }
        return row.map { Double($0) - top - log(sum) }
    }
}
