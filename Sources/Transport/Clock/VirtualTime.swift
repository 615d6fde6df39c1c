/// Time that a test or a simulation owns.
///
/// Virtual time passes only while every thread that takes part waits: a thread that computes takes
/// none of it. The owner then moves it to the next moment that a thread waits for, or to an event
/// of its own, such as the arrival of simulated bytes.
///
/// A fabric announces its own threads. The owner of the time announces the threads that call the
/// fabric.
package protocol VirtualTime: AnyObject, Sendable {
    /// The time in nanoseconds. Never 0.
    var nanoseconds: UInt64 { get }

    /// Announces a thread, before it starts: from now on time stands until that thread waits too.
    func threadBegins()

    /// Says that an announced thread is at its end.
    func threadEnds()

    /// Blocks the calling thread, which was announced, while `isQuiet` holds and until `moment`.
    ///
    /// `isQuiet` is looked at before the thread blocks and after every `changed`. May return early.
    func wait(until moment: UInt64, while isQuiet: () -> Bool)

    /// Says that something which an `isQuiet` looks at has changed.
    func changed()
}
