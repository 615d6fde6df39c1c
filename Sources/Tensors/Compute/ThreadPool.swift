internal import CKernels

/// The threads that share one rank's computation: a fork and join of about half a microsecond.
///
/// Work is synchronous: `run` returns when every thread is done. One thread at a time may use a
/// pool, and not from inside its own `run`.
@safe public final class ThreadPool: @unchecked Sendable {
    // Safe because: the handle never changes, and using a pool from two threads at once is ruled
    // out by its contract.
    let handle: OpaquePointer

    /// Threads of a pool at most, which every option that counts threads says too.
    private static let limit = 256

    /// Threads of each of some ranks that share cores evenly: no fewer than 1, and no more than a
    /// pool may have.
    public static func threads(on cores: Int, ranks: Int = 1) -> Int {
        min(limit, max(1, cores / max(1, ranks)))
    }

    /// How many threads work, the caller's included.
    public let threads: Int

    /// - Parameter threads: 1...256. The caller is one of them, so 1 starts none.
    public init(threads: Int) {
        precondition(
            (1 ... Self.limit).contains(threads),
            "a pool of \(threads) threads; limit 1...\(Self.limit)")
        guard let handle = unsafe ck_pool_create(Int32(threads)) else {
            preconditionFailure("the system refused a pool of \(threads) threads")
        }
        unsafe self.handle = unsafe handle
        self.threads = threads
    }

    deinit { unsafe ck_pool_destroy(handle) }

    /// Calls `body(share, count)` once for each of as many shares as threads, and returns when all
    /// have returned.
    ///
    /// A share begins on the first thread that is free, so one must not wait for another.
    public func run(_ body: (_ thread: Int, _ count: Int) -> Void) {
        typealias Body = (Int, Int) -> Void
        withoutActuallyEscaping(body) { escaping in
            var escaping = escaping
            unsafe withUnsafeMutablePointer(to: &escaping) { context in
                unsafe ck_pool_run(
                    handle,
                    { context, thread, threads in
                        unsafe context!.assumingMemoryBound(to: Body.self).pointee(
                            Int(thread), Int(threads))
                    }, context)
            }
        }
    }

    /// Where a pool's time went: seconds of the thread that calls, waiting for the others included.
    public struct Times: Sendable {
        /// Inside `linear` and `expertLayer`: everything they do.
        public let productSeconds: Double
        /// Floating-point operations of those products; a multiply-add counts two.
        public let productOperations: Double
        /// Inside `latentAttention`.
        public let attentionSeconds: Double
    }

    /// Runs `body` and measures where its time went. Not inside another `keepingTimes`.
    public func keepingTimes(_ body: () throws -> Void) rethrows -> Times {
        unsafe ck_pool_keep_times(handle, true)
        defer { unsafe ck_pool_keep_times(handle, false) }
        try body()
        let times = unsafe ck_pool_times_kept(handle)
        return Times(
            productSeconds: times.product_seconds, productOperations: times.product_operations,
            attentionSeconds: times.attention_seconds)
    }

    /// Splits `0 ..< count` evenly over the threads and calls `body` once with each non-empty part.
    public func split(_ count: Int, _ body: (Range<Int>) -> Void) {
        if count <= 1 || threads == 1 {
            if count > 0 { body(0 ..< count) }
            return
        }
        run { thread, threads in
            let range = count * thread / threads ..< count * (thread + 1) / threads
            if !range.isEmpty { body(range) }
        }
    }
}
