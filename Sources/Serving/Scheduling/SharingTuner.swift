/// Decides by measurement whether the ranks of a node compute one rank's few tokens together.
///
/// They do where each has a core, and save the time in which all but one would wait. But they wait
/// for each other in every product: where something else takes their cores, a rank alone may be
/// faster. So steps of about the same size are timed both ways, and the faster way is taken; the
/// other is explored now and then. The rank that has the tokens decides for its node.
struct SharingTuner {
    /// What is known of steps with 2^n to 2^(n+1) - 1 tokens, in seconds of a step.
    private struct Size {
        var together: Double?
        var alone: Double?
    }

    private var sizes = [Size](repeating: Size(), count: Int.bitWidth)

    /// Steps between two explorations of the way that is not taken.
    private static let period: UInt64 = 64
    /// How much a new time counts; a step that was disturbed is forgotten after a few more.
    private static let weight = 0.25
    /// A step that other work disturbed counts as at most this many usual ones.
    private static let mostTimesMean = 3.0

    private static func size(_ tokens: Int) -> Int { Int.bitWidth - tokens.leadingZeroBitCount }

    /// Whether a step of this many tokens is to be computed together.
    func shares(tokens: Int, step: UInt64) -> Bool {
        guard tokens > 0 else { return false }
        let size = sizes[Self.size(tokens)]
        guard let together = size.together else { return true }
        let pays = size.alone.map { together <= $0 } ?? true
        return step % Self.period == 0 ? !pays : pays
    }

    /// Learns from a step in which the node computed this many tokens, all of this rank.
    mutating func note(tokens: Int, seconds: Double, wasShared: Bool) {
        guard tokens > 0, seconds > 0 else { return }
        let index = Self.size(tokens)
        func mixed(_ old: Double?) -> Double {
            guard let old else { return seconds }
            return old + Self.weight * (min(seconds, Self.mostTimesMean * old) - old)
        }
        if wasShared {
            sizes[index].together = mixed(sizes[index].together)
        } else {
            sizes[index].alone = mixed(sizes[index].alone)
        }
    }
}
