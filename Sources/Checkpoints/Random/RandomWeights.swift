public import Tensors

/// Weights that are drawn where they are packed, for measurements of networks that lie in no
/// folder.
///
/// A `WeightLoader` of such gives what it is asked for: nothing is read, and nothing is on a disk.
public struct RandomWeights: Sendable {
    /// The same seed gives the same numbers.
    public let seed: UInt64
    /// How a matrix is stored, by its name.
    let format: @Sendable (String) -> NumberFormat
    /// Every number of a small tensor, by its name.
    let value: @Sendable (String) -> Float

    /// Describes them; nothing is drawn yet.
    public init(
        seed: UInt64, format: @escaping @Sendable (String) -> NumberFormat,
        value: @escaping @Sendable (String) -> Float
    ) {
        self.seed = seed
        self.format = format
        self.value = value
    }
}
