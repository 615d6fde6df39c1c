/// When staged rows are posted, and when a post says how far they have come: the source then adds
/// them while the others travel.
struct ReturnPoster {
    /// What is put together before it is posted, as in a dispatch.
    private static let postBytes = 128 << 10
    /// Each may wake the source, and what comes with the last is added when the wire is idle again:
    /// of 4096 tokens a sixty-fourth is some 100 us of either.
    private static let signalCount = 64

    /// Rows to post.
    struct Rows {
        var range: Range<Int>
        /// Whether the post says how many rows came so far.
        var signals: Bool
    }

    private let rowsPerPost: Int
    private let rowsPerSignal: Int
    private var posted = 0
    private var signalled = 0
    private(set) var staged = 0

    /// - Parameter rowCount: About how many rows there will be.
    init(rowCount: Int, rowBytes: Int) {
        rowsPerPost = max(1, Self.postBytes / rowBytes)
        rowsPerSignal = max(rowsPerPost, rowCount / Self.signalCount)
    }

    /// Takes note of one more staged row; returns the rows that should be posted now, if any.
    mutating func stage() -> Rows? {
        staged += 1
        guard staged - posted >= rowsPerPost else { return nil }
        let signals = staged - signalled >= rowsPerSignal
        defer {
            posted = staged
            if signals { signalled = staged }
        }
        return Rows(range: posted ..< staged, signals: signals)
    }

    /// The last rows; their post says how many all are.
    func rest() -> Rows { Rows(range: posted ..< staged, signals: true) }
}
