/// Which level's loops each kind of product takes, and the times behind it.
///
/// An instruction set's name does not tell its speed: AVX512-BF16 computes twice as fast as plain
/// multiply-adds on Zen 4 and 5, and half as fast on some Xeons. So the levels that the CPU has are
/// measured once, on data in the cache, and the times are remembered (`KernelChoice+Memory`).
///
/// 1. A choice follows from times alone, so what is remembered is chosen again.
/// 2. The number of rows chooses nothing: a product of one row must have the bits of many.
/// 3. Noise changes no bit: another level than the default needs a margin, a larger one where its
///    bits differ.
public struct KernelChoice: Equatable, Sendable {
    /// What a level took for a kind of product, best of some rounds on one thread.
    public struct Time: Equatable, Sendable {
        /// What was multiplied.
        public let kind: ProductKind
        /// By whose loops.
        public let level: Processor
        /// Bytes of weights (of the cache, for attention) that a product reads.
        let bytes: Int
        /// Of a product with one row; for attention, of one token.
        public let oneRowSeconds: Double
        /// Of a product with many rows.
        public let manyRowsSeconds: Double
    }

    /// Where a choice comes from.
    public enum Origin: Equatable, Sendable {
        /// `APUS_CPU` names the level.
        case pinned
        /// The CPU has one level.
        case only
        /// Measured by an earlier process.
        case remembered(path: String)
        /// Measured now. Where it could not be remembered, why.
        case measured(unsaved: String?)
    }

    /// The level of each kind.
    public private(set) var levels: [ProductKind: Processor]
    /// What was measured; nothing where nothing was to be chosen.
    public let times: [Time]
    /// Where the choice comes from.
    public let origin: Origin

    /// One level for all kinds.
    init(_ level: Processor, origin: Origin) {
        levels = Dictionary(
            uniqueKeysWithValues: ProductKind.allCases.map { ($0, level) })
        times = []
        self.origin = origin
    }

    /// What follows from times (1).
    init(times: [Time], otherwise level: Processor, origin: Origin) {
        levels = Dictionary(
            uniqueKeysWithValues: ProductKind.allCases.map { kind in
                (kind, Self.chosen(kind, times, otherwise: level))
            })
        self.times = times
        self.origin = origin
    }

    /// How much less time another level must take than the default: more than one core's times
    /// differ from start to start. With unlike bits, more than they differ while others compute.
    static func margin(sameBits: Bool) -> Double { sameBits ? 1.1 : 1.25 }

    /// Bytes per second that one core of several reads at most (Zen 5, `Tiles.h`): products of one
    /// row that are faster wait for memory all the same.
    static let coreBytesPerSecond = 43e9

    /// The level for one kind: the default unless another one is faster by the margin.
    private static func chosen(
        _ kind: ProductKind, _ times: [Time], otherwise level: Processor
    ) -> Processor {
        let measured = times.filter { $0.kind == kind }
        guard let own = measured.first(where: { $0.level == level }) ?? measured.last else {
            return level
        }
        let bits = Arithmetic(of: own.level, kind)
        let faster = measured.filter { other in
            cost(other, beside: own) * margin(sameBits: Arithmetic(of: other.level, kind) == bits)
                <= 1
        }
        return faster.min { cost($0, beside: own) < cost($1, beside: own) }?.level ?? own.level
    }

    /// The geometric mean of what one row and many rows take beside another level: both count
    /// alike (2), as decoding has few rows and a prompt many.
    static func cost(_ time: Time, beside other: Time) -> Double {
        func oneRow(_ time: Time) -> Double {
            max(time.oneRowSeconds, Double(time.bytes) / coreBytesPerSecond)
        }
        let product = oneRow(time) / oneRow(other) * (time.manyRowsSeconds / other.manyRowsSeconds)
        return product.squareRoot()
    }

    /// How this rank can compute each kind of product, the fastest first.
    public var arithmetics: [String: [String]] {
        Dictionary(
            uniqueKeysWithValues: ProductKind.allCases.map { kind in
                let others = times.filter { $0.kind == kind }
                    .sorted { $0.manyRowsSeconds < $1.manyRowsSeconds }.map(\.level)
                let all = ([levels[kind]].compactMap(\.self) + others).map {
                    Arithmetic(of: $0, kind).rawValue
                }
                let first = all.indices.filter { !all[..<$0].contains(all[$0]) }
                return (kind.rawValue, first.map { all[$0] })
            })
    }

    /// Takes for each kind the fastest level with the arithmetic that all ranks of a job use.
    ///
    /// - Parameter agreed: Arithmetics by kind, as `arithmetics` names them; a kind that is missing
    ///   stays as it is.
    /// - Returns: The kinds that this rank cannot compute so, which stay as they are.
    public mutating func agree(on agreed: [String: String]) -> [ProductKind] {
        ProductKind.allCases.filter { kind in
            guard let wanted = agreed[kind.rawValue],
                Arithmetic(of: levels[kind] ?? .portable, kind).rawValue != wanted
            else { return false }
            let found = times.filter {
                $0.kind == kind && Arithmetic(of: $0.level, kind).rawValue == wanted
            }.min { $0.manyRowsSeconds < $1.manyRowsSeconds }
            if let found { levels[kind] = found.level }
            return found == nil
        }
    }

    /// Makes the kernels of this process take these levels. Not while they run.
    public func apply() {
        for (kind, level) in levels { level.use(for: kind) }
    }

    /// How each kind of product is computed now, in this process: what its bits depend on.
    public static var bitsInUse: String {
        ProductKind.allCases.map { kind in
            "\(kind.rawValue)=\(Arithmetic(of: .inUse(for: kind), kind).rawValue)"
        }.joined(separator: " ")
    }
}
