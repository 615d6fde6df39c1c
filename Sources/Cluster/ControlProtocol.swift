/// The constants of the control plane.
///
/// A change that an older program would misread raises `version`.
public enum ControlProtocol {
    /// The version this build speaks.
    public static let version = 11
    /// Largest frame either side accepts after both proved that they have the token.
    package static let largestFrameBytes = 16 << 20
    /// Largest application payload: a frame less its kind.
    package static let largestPayloadBytes = largestFrameBytes - 64
    /// Longest label of an all-gather.
    package static let longestLabelBytes = 256
    /// Largest blob one rank gives to an all-gather: addresses, not data.
    package static let largestBlobBytes = 1 << 20
    /// Longest error text that is carried; the rest is cut.
    package static let longestReasonBytes = 4096
    /// Bytes of the secret that opens a connection.
    public static let tokenBytes = 32
    /// How often each side sends a heartbeat.
    package static let heartbeatInterval = Duration.milliseconds(500)
    /// Silence of the coordinator after which it is lost, where `ranks` is that of a rank.
    public static func coordinatorSilence(ranks: Duration) -> Duration {
        max(.seconds(10), ranks * 2)
    }

    /// How often a worker tells what its gates choose: of a large model that is 60 KB.
    package static let countInterval = Duration.seconds(2)
    /// How long an unauthenticated connection has to prove that it has the token.
    package static let authenticationLimit = Duration.seconds(5)
    /// Unauthenticated connections at one time.
    ///
    /// One more takes the place of an older one (`PendingConnections`).
    package static let mostPendingConnections = 128
    /// Unauthenticated connections of one address at one time.
    ///
    /// Half of all, so that an address that fills its share leaves as much to the others.
    package static let mostPendingPerAddress = 64
    /// Messages to a connection that does not read; beyond it the connection is closed.
    package static let mostUnsentBytes = 64 << 20
}
