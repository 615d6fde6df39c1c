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
    ///
    /// - Returns: The thread's number.
    func threadBegins() -> Int

    /// Blocks an announced thread, at its begin, until it may run.
    func threadRuns(_ number: Int)

    /// Says that an announced thread is at its end, or never started.
    func threadEnds(_ number: Int)

    /// Blocks the calling thread, which joins another, while `isRunning` holds; may return early.
    func waitForEnd(while isRunning: () -> Bool)

    /// Blocks the calling thread, which was announced, while `isQuiet` holds and until `moment`.
    ///
    /// `isQuiet` is called before the thread blocks and after every `changed`. May return early.
    func wait(until moment: UInt64, while isQuiet: () -> Bool)

    /// Says that something which an `isQuiet` reads has changed.
    func changed()
}

extension VirtualTime {
    /// For time in which all threads run at once.
    package func threadRuns(_ number: Int) {}

    /// For time in which a thread that joins another keeps nobody from running.
    package func waitForEnd(while isRunning: () -> Bool) {}
}
