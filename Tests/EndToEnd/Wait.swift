/// Waits for what other processes do.
enum Wait {
    /// Returns once a fact is there.
    ///
    /// The fact stays: a count that only grows, a line, an end. One that may pass would pass
    /// between two polls.
    ///
    /// - Throws: `Failure` with the fact when it is not there in time, so that no test goes on
    ///   without it.
    static func until(
        _ fact: @autoclosure () -> String, seconds: Double = 60, _ isTrue: () async throws -> Bool
    ) async throws {
        let limit = ContinuousClock.now + .seconds(seconds)
        while try await !isTrue() {
            guard .now < limit else { throw Failure("not within \(seconds) s: \(fact())") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
