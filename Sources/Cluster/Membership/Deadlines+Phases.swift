extension JobConfiguration.Deadlines {
    /// For the ranks that are left to meet and to read the experts that they take over.
    public var recovery: Duration { .seconds(connectSeconds + loadSeconds) }

    /// The limits of the phases, as membership wants them.
    public var byPhase: [Phase: Duration] {
        [
            .join: .seconds(joinSeconds), .connect: .seconds(connectSeconds),
            .load: .seconds(loadSeconds), .warmUp: .seconds(warmUpSeconds),
        ]
    }
}
