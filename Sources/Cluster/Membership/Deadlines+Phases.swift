extension JobConfiguration.Deadlines {
    /// The limits of the phases, as membership wants them.
    public var byPhase: [Phase: Duration] {
        [
            .join: .seconds(joinSeconds), .connect: .seconds(connectSeconds),
            .load: .seconds(loadSeconds), .warmUp: .seconds(warmUpSeconds),
        ]
    }
}
