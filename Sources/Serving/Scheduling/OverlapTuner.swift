/// Decides by measurement which steps are split in two micro-batches that hide each other's
/// all-to-all.
///
/// A step that is split reads the weights twice: cheap where a step computes for long (prompts,
/// many streams), dear where reading is all it does (a few streams). So steps of about the same
/// size are timed both ways, and the faster way is taken; the other is explored now and then.
/// The ranks measure the same steps and explore at the same step numbers. Where they still differ,
/// all ranks split a step when any rank wants to.
struct OverlapTuner {
    /// What is known of steps with 2^n to 2^(n+1) - 1 tokens.
    private struct Size {
        /// Seconds per token, whole and split.
        var whole: Double?
        var split: Double?
        /// The share of a whole step in which this rank waits for what travels.
        var exposure = 0.0
    }

    /// The least exposure that is worth trying to hide; 0 always splits.
    let threshold: Double
    private var sizes = [Size](repeating: Size(), count: Int.bitWidth)

    /// Steps between two explorations of the way that is not taken.
    private static let period: UInt64 = 64
    /// How much a new time counts; a step that was disturbed is forgotten after a few more.
    private static let weight = 0.25

    init(threshold: Double) { self.threshold = threshold }

    private static func size(_ tokens: Int) -> Int { Int.bitWidth - tokens.leadingZeroBitCount }

    /// Whether a step of this many tokens is to be split.
    func splits(tokens: Int, step: UInt64) -> Bool {
        guard tokens > 1 else { return false }
        if threshold == 0 { return true }
        let size = sizes[Self.size(tokens)]
        guard let whole = size.whole, size.exposure >= threshold else { return false }
        switch step % Self.period {
        case 0: return false
        case Self.period / 2: return true
        default: return size.split.map { $0 < whole } ?? true
        }
    }

    /// Learns from a step.
    ///
    /// - Parameters:
    ///   - exposed: The part of its seconds in which this rank waited for what travelled.
    mutating func note(tokens: Int, seconds: Double, exposed: Double, wasSplit: Bool) {
        guard tokens > 0, seconds > 0 else { return }
        let time = seconds / Double(tokens)
        let index = Self.size(tokens)
        func mixed(_ old: Double?) -> Double {
            old.map { $0 + Self.weight * (time - $0) } ?? time
        }
        if wasSplit {
            sizes[index].split = mixed(sizes[index].split)
        } else {
            let share = exposed / seconds
            let old = sizes[index].whole == nil ? share : sizes[index].exposure
            sizes[index].exposure = old + Self.weight * (share - old)
            sizes[index].whole = mixed(sizes[index].whole)
        }
    }
}
