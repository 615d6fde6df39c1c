/// Finds the first stop string in a text that arrives in pieces, and holds back what may begin one.
struct StopScanner {
    private let stops: [[UInt8]]
    /// The stop string that was found.
    private(set) var found: String?
    private var held: [UInt8] = []
    /// Bytes at the beginning of `held` in which a stop string must not end.
    private var quietCount = 0
    /// Whether a stop string was found.
    ///
    /// Nothing comes out after it.
    private(set) var hasStopped = false

    init(_ stops: [String]) {
        self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
    }

    /// Text that is certain to precede any stop string, once `piece` is known.
    ///
    /// - Parameter mayStop: Whether a stop string that ends in this piece counts.
    mutating func append(_ piece: String, mayStop: Bool = true) -> String {
        guard !hasStopped else { return "" }
        guard !stops.isEmpty else { return piece }
        held += Array(piece.utf8)
        if !mayStop { quietCount = held.count }
        if let (end, stop) = firstStop() {
            hasStopped = true
            found = String(decoding: stop, as: UTF8.self)
            return take(end)
        }
        return take(held.count - longestBeginning())
    }

    /// What was held back, when no more text comes.
    mutating func finish() -> String { hasStopped ? "" : take(held.count) }

    private mutating func take(_ count: Int) -> String {
        let text = String(decoding: held[..<count], as: UTF8.self)
        held.removeFirst(count)
        quietCount = max(0, quietCount - count)
        if hasStopped { held = [] }
        return text
    }

    private func firstStop() -> (start: Int, stop: [UInt8])? {
        for start in held.indices {
            let stop = stops.first { stop in
                start + stop.count > quietCount && held[start...].starts(with: stop)
            }
            if let stop { return (start, stop) }
        }
        return nil
    }

    /// Bytes at the end that begin some stop string.
    private func longestBeginning() -> Int {
        let longest = (stops.map(\.count).max() ?? 1) - 1
        for count in stride(from: min(longest, held.count), to: 0, by: -1) {
            let tail = held.suffix(count)
            if stops.contains(where: { $0.starts(with: tail) }) { return count }
        }
        return 0
    }
}
