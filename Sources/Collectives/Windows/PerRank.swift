internal import Topology

/// One value for each rank of a group; only a rank can index it.
struct PerRank<Value> {
    private(set) var values: [Value]

    init(repeating value: Value, count: Int) { values = [Value](repeating: value, count: count) }

    init(_ values: [Value]) { self.values = values }

    @inline(__always)
    subscript(rank: Rank) -> Value {
        get { values[rank.rawValue] }
        _modify { yield &values[rank.rawValue] }
    }

    /// Gives every rank the same value, and keeps the memory.
    mutating func reset(to value: Value) {
        for index in values.indices { values[index] = value }
    }
}

extension PerRank: Sendable where Value: Sendable {}
extension PerRank: Equatable where Value: Equatable {}
