internal import CKernels

/// What this machine can do at best, measured now: the denominators of `bench`.
public enum Limits {
    /// Bytes per second that the pool's threads read from memory beyond the caches, best of
    /// `rounds` passes over 512 MiB.
    public static func readBandwidth(pool: ThreadPool, rounds: Int = 5) -> Double {
        let byteCount = 512 << 20
        let memory = unsafe ck_allocate(byteCount)!
        defer { unsafe ck_free(memory, byteCount) }
        // Zero pages that were never written are one page in cache: write every one.
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 1, count: byteCount)
        return (0 ..< max(rounds, 1)).map { _ in
            unsafe ck_read_bandwidth(pool.handle, memory, byteCount)
        }.max()!
    }

    /// Floating-point operations per second (a multiply-add counts two) that the pool's threads
    /// reach together on registers alone, best of `rounds`.
    public static func peakFMA(
        compute: Compute = .bfloat16, pool: ThreadPool, rounds: Int = 5
    ) -> Double {
        (0 ..< max(rounds, 1)).map { _ in unsafe ck_peak_rate(pool.handle, compute.code) }.max()!
    }
}
