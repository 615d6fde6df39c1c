/// Waits for what other threads do.
enum Wait {
    /// A fact that was not there in time.
    struct Missing: Error {
        let fact: String
    }

    /// Returns once a fact is there; no time is asserted.
    ///
    /// The fact stays: a count that only grows, or a state that nothing ends. One that may pass
    /// would pass between two polls.
    ///
    /// - Throws: `Missing` after a minute, so that no test goes on without the fact.
    static func until(_ fact: String, _ isTrue: () async throws -> Bool) async throws {
        let limit = ContinuousClock.now + .seconds(60)
        while try await !isTrue() {
            guard .now < limit else { throw Missing(fact: fact) }
            try await Task.sleep(for: .milliseconds(1))
        }
    }
}
