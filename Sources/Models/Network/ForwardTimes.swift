/// Parts of a forward whose time is kept.
package enum ForwardPart: String, CaseIterable, Codable, Sendable {
    /// Attention with both norms of a block.
    case attention
    /// The feed-forward network of a block without experts.
    case dense
    /// Scores of the routed experts, and the choice.
    case gate
    /// Ordering tokens by their experts' ranks, and encoding them for the way.
    case dispatch
    /// The shared experts.
    case shared
    /// The routed experts, reading and writing rows as they travel.
    case routed
    /// Decoding what returned and adding it up.
    case combine
    /// The logits.
    case head
}

/// Where the time of a model's batches went, by part and block.
package final class ForwardTimes {
    /// A part of a block; the head belongs to none.
    package struct Place: Hashable, Sendable {
        package let part: ForwardPart
        package let layer: Int?

        package init(_ part: ForwardPart, layer: Int?) {
            self.part = part
            self.layer = layer
        }
    }

    /// Seconds of one part of one batch, and what it had to read and compute at least.
    package struct Figure: Sendable {
        package let seconds: Double
        package let work: WorkCount
    }

    /// Of each place, one figure per batch.
    package private(set) var figures: [Place: [Figure]] = [:]

    package init() {}

    func add(_ place: Place, _ time: Duration, _ work: WorkCount) {
        figures[place, default: []].append(Figure(seconds: time / .seconds(1), work: work))
    }
}

extension Model {
    /// Does a part of a batch's work, and keeps how long it took where times are kept.
    @inline(__always)
    func timing<Value>(
        _ part: ForwardPart, _ layer: Int? = nil, _ body: () throws -> Value
    ) rethrows -> Value {
        guard let times else { return try body() }
        let (start, before) = (ContinuousClock.now, work)
        let value = try body()
        times.add(.init(part, layer: layer), .now - start, work - before)
        return value
    }
}
