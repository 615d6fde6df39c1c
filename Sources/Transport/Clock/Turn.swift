import CFabric

/// What one thread waits on until another lets it run.
///
/// Safe because the word is made in `init`, and is read and written atomically.
@safe final class Turn: @unchecked Sendable {
    private let word: UnsafeMutablePointer<UInt32>

    init() {
        unsafe word = .allocate(capacity: 1)
        unsafe word.initialize(to: 0)
    }

    deinit { unsafe word.deallocate() }

    /// Lets the thread that takes the turn go on.
    func give() {
        unsafe fabric_store32(word, 1)
        unsafe fabric_futex_wake(word)
    }

    /// Returns once the turn was given.
    func take() {
        while unsafe fabric_load32(word) == 0 {
            unsafe fabric_futex_wait(word, 0, Self.longestSleep)
        }
        unsafe fabric_store32(word, 0)
    }

    /// The wake-up ends the sleep; this is only what a futex needs.
    private static let longestSleep: UInt64 = 1_000_000_000
}
