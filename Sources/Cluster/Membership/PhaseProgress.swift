import Encoding

/// How far a rank is inside a phase.
public struct PhaseProgress: Hashable, Codable, Sendable {
    /// Done so far, in bytes.
    public var doneBytes: Int
    /// To do in all, in bytes.
    public var totalBytes: Int
    /// Since the phase began.
    package var elapsedSeconds: Double

    /// States progress.
    public init(doneBytes: Int, totalBytes: Int, elapsed: Duration) {
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
        elapsedSeconds = elapsed.seconds
    }

    /// `1.2 of 6.8 GB, 3.1 GB/s, 2 s left`.
    public var description: String {
        let seconds = max(1e-9, elapsedSeconds)
        let rate = Double(doneBytes) / seconds
        let left = rate > 0 ? (Double(totalBytes) - Double(doneBytes)) / rate : 0
        func gigabytes(_ bytes: Double) -> String { (bytes / 1e9).formatted(digits: 2) }
        return "\(gigabytes(Double(doneBytes))) of \(gigabytes(Double(totalBytes))) GB,"
            + " \(gigabytes(rate)) GB/s, \(left.formatted(digits: 0)) s left"
    }
}
