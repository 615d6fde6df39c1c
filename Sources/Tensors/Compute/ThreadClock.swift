import Glibc

/// Processor time of the calling thread: what it computed, whatever else ran on its core.
public enum ThreadClock {
    /// Seconds since the thread began; only differences mean something.
    public static var seconds: Double {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
