/// What one rank computes in a step, decided before the step begins.
struct StepPlan: Hashable, Sendable {
    /// The parts of its sequences; none for a rank that only computes its experts.
    var entries: [StepEntry] = []
    /// What the rank wants all ranks to do in the step.
    var request: StepRequest = []
    /// Whether the rank drafts after the step.
    var drafts = false

    /// Tokens that the rank computes.
    var tokenCount: Int { entries.reduce(0) { $0 + $1.tokenCount } }

    /// Its streams; 0 if it also reads prompts, so that the step says nothing about streams.
    var streamCount: Int { entries.allSatisfy(\.isStream) ? entries.count : 0 }
}

/// What a rank can do next.
enum NextStep: Hashable, Sendable {
    /// Perform this step.
    case step(StepPlan)
    /// Plan again: every request of the plan failed, or waits for its share of another step.
    case planAgain
    /// Nothing, until a request comes.
    case idle
}
