/// Who watches a rank train.
public struct TrainingObserver: Sendable {
    /// One step of this rank.
    public struct Step: Sendable {
        /// Steps done, this one included.
        public var number: Int
        /// What it took.
        public var seconds: Double
        /// Of all ranks.
        public var tokensPerSecond: Double
        /// Dispatches and combines of this rank, as a share of the step.
        public var allToAllShare: Double
        /// What of them computation hid.
        public var hiddenShare: Double
    }

    /// Text and layers are there, steps begin.
    public var began: @Sendable () -> Void
    /// A step ended.
    public var stepped: @Sendable (Step) -> Void
    /// A line for people, on rank 0; the run's log has it too. What it throws ends the run.
    public var said: @Sendable (String) throws -> Void

    /// An observer of what is given.
    public init(
        began: @escaping @Sendable () -> Void = {},
        stepped: @escaping @Sendable (Step) -> Void = { _ in },
        said: @escaping @Sendable (String) throws -> Void = { _ in }
    ) {
        self.began = began
        self.stepped = stepped
        self.said = said
    }
}
