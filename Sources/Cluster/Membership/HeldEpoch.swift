/// What a worker kept while its job had no coordinator, for the next one to go on from.
public struct HeldEpoch: Hashable, Codable, Sendable {
    /// The last epoch that the worker was told: who takes part, and where the experts are.
    public var epoch: JobEpoch
    /// Whether the worker takes part in it, and not in an earlier one still.
    var takesPart: Bool
    /// The highest number of an epoch that the worker heard of, those included that never came.
    var highestNumber: UInt64
    /// Which ranks the worker was told to be away on purpose; nil where it was told of none.
    var drained: DrainedRanks?

    /// States what a worker keeps.
    public init(epoch: JobEpoch, takesPart: Bool, highestNumber: UInt64) {
        self.epoch = epoch
        self.takesPart = takesPart
        self.highestNumber = highestNumber
    }
}
