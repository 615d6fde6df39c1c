import Dispatch

/// The node's monotonic clock, which all processes of one kernel share.
enum Clock {
    static func nanoseconds() -> UInt64 { DispatchTime.now().uptimeNanoseconds }
}
