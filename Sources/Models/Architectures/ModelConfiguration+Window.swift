import Tensors

/// Blocks whose tokens see the last entries alone, and how many those are.
struct AttentionWindow: Sendable, Equatable {
    /// Entries that a token sees there, its own included.
    let size: Int
    /// Whether each block is one of them.
    let layers: [Bool]
}

extension ModelConfiguration {
    /// Entries that a token sees in a block, its own included; nil for all.
    func windowSize(layer: Int) -> Int? {
        guard let window, layer < window.layers.count, window.layers[layer] else { return nil }
        return window.size
    }

    /// What gpt-oss's code takes where its keys are absent.
    private enum Absent {
        static let window = 128
        static let alpha: Float = 1.702
        static let limit: Float = 7
    }

    /// Reads which blocks see a window: every other one from the first on where nothing says it.
    mutating func readWindow(_ box: KeyedDecodingContainer<GroupedKey>) throws {
        guard 0 ... Limit.layers ~= layerCount else { return }
        let kinds = try box.decodeIfPresent([String].self, forKey: .layerTypes)
        let layers =
            kinds?.map { $0 == GptOss.slidingLayer }
            ?? (0 ..< layerCount).map { $0.isMultiple(of: 2) }
        guard layers.count == layerCount else {
            throw Refusal(
                key: GroupedKey.layerTypes.rawValue,
                fact: "lists \(layers.count) blocks; num_hidden_layers is \(layerCount)")
        }
        guard let first = layers.firstIndex(of: true) else { return }
        let isAbsent = !box.contains(.window)
        guard
            let size = isAbsent
                ? Absent.window : try box.decodeIfPresent(Int.self, forKey: .window)
        else {
            throw Refusal(
                key: GroupedKey.window.rawValue,
                fact: "is null; layer_types makes block \(first) \(GptOss.slidingLayer)")
        }
        guard 1 ... Limit.positions ~= size else {
            throw Refusal(
                key: GroupedKey.window.rawValue,
                fact: "\(size) is outside 1...\(Limit.positions)")
        }
        window = AttentionWindow(size: size, layers: layers)
    }

    /// Reads the two numbers of the clamped activation.
    mutating func readActivation(_ box: KeyedDecodingContainer<GroupedKey>) throws {
        func read(_ key: GroupedKey, or absent: Float) throws -> Float {
            let value = try box.decodeIfPresent(Float.self, forKey: key) ?? absent
            let range: ClosedRange<Float> = 1e-3 ... 1e3
            guard range.contains(value) else {
                throw Refusal(
                    key: key.rawValue,
                    fact: "\(value) is outside \(range.lowerBound)...\(range.upperBound)")
            }
            return value
        }
        expertActivation = ClampedSwiGLU(
            alpha: try read(.activationAlpha, or: Absent.alpha),
            limit: try read(.activationLimit, or: Absent.limit))
    }

    /// Writes what the two above read.
    func encodeWindow(into box: inout KeyedEncodingContainer<GroupedKey>) throws {
        guard let expertActivation else { return }
        if let window { try box.encode(window.size, forKey: .window) }
        let kinds = (0 ..< layerCount).map {
            windowSize(layer: $0) == nil ? GptOss.fullLayer : GptOss.slidingLayer
        }
        try box.encode(kinds, forKey: .layerTypes)
        try box.encode(expertActivation.alpha, forKey: .activationAlpha)
        try box.encode(expertActivation.limit, forKey: .activationLimit)
    }
}
