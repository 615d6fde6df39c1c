/// A batch that begins small and grows evenly (DeepSeek-V3 report, §4.2: 3072 to 15360 sequences).
struct BatchRamp: Codable, Hashable, Sendable {
    /// Sequences of a micro-batch in step 0.
    var first: Int
    /// Sequences of a micro-batch from step `steps` on.
    var last: Int
    /// Steps over which it grows.
    var steps: Int

    /// States a ramp.
    init(first: Int, last: Int, steps: Int) {
        self.first = first
        self.last = last
        self.steps = steps
    }

    /// Sequences of a micro-batch in a step counted from 0.
    func sequences(step: Int) -> Int {
        step >= steps ? last : first + (last - first) * step / steps
    }

    /// Sequences of one micro-batch of each step before this one, added up: where its text begins.
    func sequences(before step: Int) -> Int {
        let ramped = (0 ..< min(step, steps)).reduce(0) { $0 + sequences(step: $1) }
        return ramped + max(0, step - steps) * last
    }
}
