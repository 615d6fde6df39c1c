import Topology

extension Timeline {
    /// Draws timelines under each other on one time axis, planned and measured for example.
    ///
    /// - Parameters:
    ///   - axis: What the time axis counts, with its unit.
    ///   - width: Of the longest time axis, in pixels.
    public static func svg(
        _ timelines: [Timeline], axis: String = "time", width: Double = 1600
    ) -> String {
        let end = timelines.map(\.end).max() ?? 0
        var painter = TimelinePainter(end: end, width: width)
        for timeline in timelines { painter.draw(timeline) }
        painter.drawAxis(axis)
        painter.drawLegend(Set(timelines.flatMap(\.entries).map(\.kind)))
        return painter.canvas.file(
            width: width + TimelinePainter.left + 20, height: painter.y,
            title: timelines.map(\.title).joined(separator: "; "))
    }
}

/// Draws timelines as the DualPipe figure does: a row per rank, a box per step, time to the right.
private struct TimelinePainter {
    static let rowHeight = 26.0
    static let wireHeight = 7.0
    static let left = 70.0
    static let top = 34.0

    private let end: Double
    private let scale: Double
    var canvas = SVGCanvas()
    var y = 0.0

    init(end: Double, width: Double) {
        self.end = end
        scale = width / max(end, .leastNormalMagnitude)
    }

    private static func ink(_ kind: TimelineEntry.Kind, _ isSecond: Bool) -> SVGCanvas.Ink {
        switch kind {
        case .forward, .overlapped: isSecond ? .forwardSecond : .forward
        case .backward: isSecond ? .backwardSecond : .backward
        case .backwardInput: isSecond ? .inputSecond : .input
        case .backwardWeight: isSecond ? .weightSecond : .weight
        case .transfer: .transfer
        case .exposed: .exposed
        }
    }

    mutating func draw(_ timeline: Timeline) {
        canvas.text(timeline.title, x: Self.left, y: y + 20, size: 15, anchor: .start, isBold: true)
        y += Self.top
        let hasWires = timeline.entries.contains { $0.lane == .communication }
        let pitch = Self.rowHeight + (hasWires ? Self.wireHeight : 0)
        for rank in 0 ..< timeline.rankCount {
            canvas.text(
                "rank \(rank)", x: Self.left - 8, y: y + Double(rank) * pitch + 17, size: 11,
                anchor: .end)
        }
        for entry in timeline.entries where entry.end > entry.start {
            let row = y + Double(entry.rank.rawValue) * pitch
            let x = Self.left + entry.start * scale
            let width = (entry.end - entry.start) * scale
            if entry.lane == .communication {
                canvas.box(
                    x: x, y: row + Self.rowHeight, width: width, height: Self.wireHeight - 2,
                    Self.ink(entry.kind, false), edge: .faint)
            } else {
                draw(entry, x: x, y: row, width: width)
            }
        }
        y += Double(timeline.rankCount) * pitch + 10
    }

    /// A step with the number of its micro-batch; a pair is split, forward above backward.
    private mutating func draw(_ entry: TimelineEntry, x: Double, y: Double, width: Double) {
        let parts = entry.label.split(separator: "&").map(String.init)
        guard entry.kind == .overlapped, parts.count == 2 else {
            let ink = Self.ink(entry.kind, entry.isSecondDirection)
            draw(entry.label, ink, x: x, y: y, width: width, height: Self.rowHeight)
            return
        }
        let half = Self.rowHeight / 2
        draw(
            parts[0], Self.ink(.forward, entry.isSecondDirection), x: x, y: y, width: width,
            height: half)
        draw(
            parts[1], Self.ink(.backward, !entry.isSecondDirection), x: x, y: y + half,
            width: width, height: half)
    }

    private mutating func draw(
        _ label: String, _ ink: SVGCanvas.Ink, x: Double, y: Double, width: Double, height: Double
    ) {
        canvas.box(x: x, y: y, width: width, height: height, ink, edge: .faint)
        canvas.text(
            String(label.dropFirst()), x: x + width / 2, y: y + height / 2 + 4,
            size: min(10, max(4, width / 2.2)), ink: nil)
    }

    mutating func drawAxis(_ title: String) {
        let ticks = Ticks(0 ... max(end, .leastNormalMagnitude), atMost: 15)
        let right = Self.left + end * scale
        canvas.line([(Self.left, y), (right, y)], .line)
        for value in ticks.values {
            let x = Self.left + value * scale
            canvas.line([(x, y), (x, y + 6)], .line)
            canvas.text(ticks.label(value), x: x, y: y + 20, size: 11, ink: .faint)
        }
        canvas.text(title, x: (Self.left + right) / 2, y: y + 38, size: 12)
        y += 54
    }

    /// - Parameter kinds: What was drawn; a pair is a forward and a backward.
    mutating func drawLegend(_ kinds: Set<TimelineEntry.Kind>) {
        let drawn = kinds.contains(.overlapped) ? kinds.union([.forward, .backward]) : kinds
        let items: [(TimelineEntry.Kind, String)] = [
            (.forward, "forward"), (.backward, "backward"),
            (.backwardInput, "backward for input"), (.backwardWeight, "backward for weights"),
            (.transfer, "communication"), (.exposed, "exposed communication"),
        ]
        var x = Self.left
        for (kind, name) in items where drawn.contains(kind) {
            canvas.box(x: x, y: y, width: 14, height: 12, Self.ink(kind, false), edge: .faint)
            canvas.text(name, x: x + 19, y: y + 10, size: 11, anchor: .start)
            x += 40 + SVGCanvas.width(of: name, size: 11)
        }
        guard kinds.contains(.overlapped) else {
            y += 28
            return
        }
        canvas.text(
            "darker: the other direction; a split box: an overlapped forward and backward", x: x,
            y: y + 10, size: 11, anchor: .start, ink: .faint)
        y += 28
    }
}
