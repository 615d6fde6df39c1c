import Encoding

/// Decides which rejected connections get a line of the log: a value that takes events and the
/// time.
///
/// The first of each interval are named. The rest are counted, and the count is one line.
struct RejectionLog {
    /// Lines of one interval before the rest is counted.
    static let linesPerInterval = 5
    static let interval = Duration.seconds(10)

    private var began: Duration?
    private var written = 0
    private var held = 0
    private var lastHeld = ""

    /// A connection was rejected.
    ///
    /// - Returns: The lines to write.
    mutating func rejected(_ address: String, _ reason: String, now: Duration) -> [String] {
        var lines = passed(now)
        if began == nil { began = now }
        let line = "a connection from \(address) \(reason)"
        if written < Self.linesPerInterval {
            written += 1
            lines.append(line)
        } else {
            held += 1
            lastHeld = line
        }
        return lines
    }

    /// Time passed.
    ///
    /// - Returns: How many connections had no line of their own, once their interval is over.
    mutating func passed(_ now: Duration) -> [String] {
        guard let began, now - began >= Self.interval else { return [] }
        let (count, last) = (held, lastHeld)
        self = RejectionLog()
        guard count > 0 else { return [] }
        return [
            "\(count) more connections were rejected within \(Self.interval.seconds) s; the last:"
                + " \(last)"
        ]
    }
}
