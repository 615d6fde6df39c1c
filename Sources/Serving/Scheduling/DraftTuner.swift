/// Decides by measurement whether drafting pays.
///
/// A step that drafts verifies more rows, which choose more experts, and runs the MTP block: where
/// reading weights is all a step does, that is cheap; where a step is short, or many streams share
/// it, it may cost more than the accepted tokens bring. So steps of streams alone are timed both
/// ways, and the way with more tokens per second is taken; the other is explored now and then.
///
/// While nobody drafts, the MTP block misses latents: the first drafts after that are worse, which
/// costs acceptance and never changes a text. They are not measured.
struct DraftTuner {
    /// One way, in means that forget.
    private struct Rate {
        var seconds = 0.0
        var tokens = 0.0

        /// A step that other work on the machine disturbed counts as at most this many usual ones.
        private static let mostTimesMean = 3.0

        mutating func add(_ seconds: Double, _ tokens: Int, weight: Double) {
            let limit = self.seconds > 0 ? self.seconds * Self.mostTimesMean : seconds
            let seconds = min(seconds, limit)
            self.seconds += weight * (seconds - self.seconds)
            self.tokens += weight * (Double(tokens) - self.tokens)
        }

        var tokensPerSecond: Double { seconds > 0 ? tokens / seconds : 0 }
    }

    /// What is known of steps with 2^n to 2^(n+1) - 1 streams.
    private struct Size {
        var steps = 0
        var with = Rate()
        var without = Rate()
        /// Steps since the way last changed, and that way.
        var run = 0
        var lastDrafted = true

        var pays: Bool { with.tokensPerSecond >= without.tokensPerSecond }
    }

    private var sizes = [Size](repeating: Size(), count: Int.bitWidth)

    /// Steps that draft at first: enough to see how many drafts are accepted.
    private static let trial = 64
    /// Steps of exploring the other way, and steps from one exploration to the next.
    private static let exploration = 32
    private static let period = 1024
    /// Steps after a change that are not measured.
    private static let settling = 4
    private static let weight = 1.0 / 16

    private static func size(_ streams: Int) -> Int {
        Int.bitWidth - streams.leadingZeroBitCount
    }

    /// Whether a step of this many streams is to draft.
    func drafts(streams: Int) -> Bool {
        let size = sizes[Self.size(streams)]
        let place = size.steps % Self.period
        if size.steps < Self.period {
            return place < Self.trial || (place >= Self.trial + Self.exploration && size.pays)
        }
        return place < Self.exploration ? !size.pays : size.pays
    }

    /// Learns from a step of streams alone.
    mutating func note(streams: Int, seconds: Double, tokens: Int, drafted: Bool) {
        guard streams > 0, seconds > 0 else { return }
        let index = Self.size(streams)
        sizes[index].steps += 1
        sizes[index].run = sizes[index].lastDrafted == drafted ? sizes[index].run + 1 : 1
        sizes[index].lastDrafted = drafted
        guard sizes[index].run > Self.settling else { return }
        // The first that counts is taken as it is.
        func weight(_ rate: Rate) -> Double { rate.seconds == 0 ? 1 : Self.weight }
        if drafted {
            sizes[index].with.add(seconds, tokens, weight: weight(sizes[index].with))
        } else {
            sizes[index].without.add(seconds, tokens, weight: weight(sizes[index].without))
        }
    }
}
