/// Spans of time that do not touch, in order, in nanoseconds.
struct TimeSpans: Hashable, Sendable {
    private(set) var spans: [Range<Int64>] = []

    /// The time that lies in at least one of these.
    init(_ spans: some Sequence<Range<Int64>>) {
        for span in spans.sorted(by: { $0.lowerBound < $1.lowerBound }) where !span.isEmpty {
            if let last = self.spans.last, span.lowerBound <= last.upperBound {
                self.spans[self.spans.count - 1] =
                    last.lowerBound ..< max(last.upperBound, span.upperBound)
            } else {
                self.spans.append(span)
            }
        }
    }

    /// All of it together.
    var total: Int64 { spans.reduce(0) { $0 + Int64($1.count) } }

    /// The part that lies in none of the others.
    func without(_ others: TimeSpans) -> TimeSpans {
        var left: [Range<Int64>] = []
        var index = 0
        for span in spans {
            var begin = span.lowerBound
            while index < others.spans.count, others.spans[index].upperBound <= begin { index += 1 }
            var next = index
            while next < others.spans.count, others.spans[next].lowerBound < span.upperBound {
                let other = others.spans[next]
                if begin < other.lowerBound { left.append(begin ..< other.lowerBound) }
                begin = max(begin, other.upperBound)
                next += 1
            }
            if begin < span.upperBound { left.append(begin ..< span.upperBound) }
        }
        return TimeSpans(left)
    }
}
