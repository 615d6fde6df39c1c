extension JobConfiguration.Deadlines {
    /// For the ranks that are left to meet and to read the experts that they take over.
    public var recovery: Duration { .seconds(connectSeconds + loadSeconds) }

    /// For a rank to leave on purpose, or to stay after all: for the others to read, and to answer.
    public var leaving: Duration {
        max(recovery, Membership.candidateLimit) + Self.answerLimit
    }

    /// For a rank that left to be started, and to take part again or not.
    public var returning: Duration { .seconds(joinSeconds) + recovery + leaving }

    /// For a rank to leave where the job's own limits are not known: the longest that it may have.
    public static let longestLeaving =
        Duration.seconds(2 * JobConfiguration.longestWait) + answerLimit

    /// For a coordinator that is busy to say what it did.
    private static let answerLimit = Duration.seconds(60)

    /// Silence after which the launcher ends the process of a rank that was given up: for the
    /// process to end by itself, or to say that it is back.
    static let hung = Duration.seconds(10)

    /// For the process of a rank that left on purpose to close its fabric and to write what it
    /// keeps: its silence is in order.
    static let departure = Duration.seconds(60)

    /// For the memory of a lost process to be free: one that hangs keeps it until it is ended, and
    /// the system takes a while to take it back.
    public static let release = hung * 2

    /// The limits of the phases, as membership wants them.
    public var byPhase: [Phase: Duration] {
        [
            .join: .seconds(joinSeconds), .connect: .seconds(connectSeconds),
            .load: .seconds(loadSeconds), .warmUp: .seconds(warmUpSeconds),
        ]
    }
}
