import Glibc

/// Tokens that were routed to each logical expert of each layer, of which older ones count less.
///
/// The half life is a minute: long beside a burst of one kind of prompt, short beside the hours in
/// which traffic changes.
public struct ExpertLoad: Hashable, Sendable {
    /// The time after which a token counts half.
    package static let halfLife = Duration.seconds(60)

    /// `[layers][experts]`, tokens; finite and at least 0.
    public private(set) var tokens: [[Double]]
    private var decayed: Duration

    /// No token yet.
    public init(layerCount: Int, expertCount: Int, now: Duration) {
        tokens = Array(
            repeating: Array(repeating: 0, count: expertCount), count: layerCount)
        decayed = now
    }

    /// Adds what a rank counted since it last reported.
    ///
    /// - Throws: `TopologyError.balancing` for counts of another model.
    public mutating func add(_ counts: ExpertCounts, now: Duration) throws(TopologyError) {
        guard counts.layerCount == tokens.count, counts.expertCount == tokens.first?.count else {
            throw .balancing(
                "counts of \(counts.layerCount) layers with \(counts.expertCount) experts: the"
                    + " model has \(tokens.count) with \(tokens.first?.count ?? 0)")
        }
        decay(to: now)
        for layer in tokens.indices {
            for expert in tokens[layer].indices {
                tokens[layer][expert] += Double(counts[layer, expert])
            }
        }
    }

    /// Lets what was counted before fade.
    public mutating func decay(to now: Duration) {
        guard now > decayed else { return }
        let factor = exp2(-((now - decayed) / Self.halfLife))
        decayed = now
        for layer in tokens.indices {
            for expert in tokens[layer].indices { tokens[layer][expert] *= factor }
        }
    }
}

/// How many tokens one rank routed to each logical expert of each layer in some time.
public struct ExpertCounts: Hashable, Sendable {
    /// Layers, those without routed experts included.
    public let layerCount: Int
    /// Routed experts of a layer.
    public let expertCount: Int
    /// Layer after layer.
    public private(set) var values: [UInt32]

    /// Counts nothing yet.
    public init(layerCount: Int, expertCount: Int) {
        self.layerCount = layerCount
        self.expertCount = expertCount
        values = Array(repeating: 0, count: layerCount * expertCount)
    }

    /// Counts that somebody else made; nil unless there is one for each expert of each layer.
    public init?(layerCount: Int, expertCount: Int, values: [UInt32]) {
        guard layerCount > 0, expertCount > 0, expertCount <= ExpertPlacement.mostExperts,
            layerCount <= Self.mostLayers, values.count == layerCount * expertCount
        else { return nil }
        self.layerCount = layerCount
        self.expertCount = expertCount
        self.values = values
    }

    /// Far above any model.
    package static let mostLayers = 1 << 12

    /// The tokens of an expert.
    public subscript(layer: Int, expert: Int) -> UInt32 { values[layer * expertCount + expert] }

    /// Whether no token was counted.
    public var isEmpty: Bool { values.allSatisfy { $0 == 0 } }

    /// Counts the choices of a batch.
    ///
    /// - Parameter experts: `[tokens, topK]`, each below `expertCount`.
    public mutating func add(_ experts: [Int32], layer: Int) {
        let first = layer * expertCount
        for expert in experts { values[first + Int(expert)] &+= 1 }
    }
}
