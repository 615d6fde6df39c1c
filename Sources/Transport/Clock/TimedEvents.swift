/// What happens at moments of virtual time without a thread, such as the arrival of bytes.
protocol TimedEvents: AnyObject, Sendable {
    /// When the next event happens, in nanoseconds; nil if none will.
    var nextMoment: UInt64? { get }

    /// Lets everything happen that is due at the moment. It is called for every moment at which
    /// time stops, and must not wait.
    func happen(at moment: UInt64)
}
