extension JobConfiguration.Deadlines {
    /// For the ranks that are left to meet and to read the experts that they take over.
    public var recovery: Duration { .seconds(connectSeconds + loadSeconds) }

    /// For a rank to leave on purpose, or to stay after all: for the others to read, and to answer.
    public var leaving: Duration {
        max(recovery, Membership.candidateLimit) + Self.answerLimit
    }

    /// The same where the job's own limits are not known: for the longest that it may have.
    public static let longestLeaving =
        Duration.seconds(2 * JobConfiguration.longestWait) + answerLimit

    /// For a coordinator that is busy to say what it did.
    private static let answerLimit = Duration.seconds(60)

    /// The limits of the phases, as membership wants them.
    public var byPhase: [Phase: Duration] {
        [
            .join: .seconds(joinSeconds), .connect: .seconds(connectSeconds),
            .load: .seconds(loadSeconds), .warmUp: .seconds(warmUpSeconds),
        ]
    }
}
