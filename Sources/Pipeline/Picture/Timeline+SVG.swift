import Foundation
import Topology

/// Draws timelines as the DualPipe figure does: a row per rank, a box per step, time to the right.
private struct SVGPainter {
    static let rowHeight = 26.0
    static let wireHeight = 7.0
    static let left = 70.0
    static let top = 34.0

    let scale: Double
    var body: [String] = []
    var y = 0.0

    static func fill(_ kind: TimelineEntry.Kind, _ isSecond: Bool) -> String {
        switch kind {
        case .forward, .overlapped: isSecond ? "#e8a33d" : "#f8d58c"
        case .backward: isSecond ? "#5a9e5a" : "#a8d5a2"
        case .backwardInput: isSecond ? "#3f8fb5" : "#9fd0e8"
        case .backwardWeight: isSecond ? "#7c74b8" : "#c1bce6"
        case .transfer: "#b8bcc4"
        case .exposed: "#d7263d"
        }
    }

    func number(_ value: Double) -> String { String(format: "%.2f", value) }

    func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }

    mutating func box(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ fill: String) {
        body.append(
            "<rect x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(width))\" "
                + "height=\"\(number(height))\" fill=\"\(fill)\" stroke=\"#444\" "
                + "stroke-width=\"0.4\"/>")
    }

    mutating func label(
        _ text: String, _ x: Double, _ y: Double, size: Double = 10, anchor: String = "middle"
    ) {
        body.append(
            "<text x=\"\(number(x))\" y=\"\(number(y))\" font-size=\"\(number(size))\" "
                + "text-anchor=\"\(anchor)\">\(escaped(text))</text>")
    }

    mutating func draw(_ timeline: Timeline) {
        label(timeline.title, Self.left, y + 20, size: 14, anchor: "start")
        y += Self.top
        let hasWires = timeline.entries.contains { $0.lane == .communication }
        let pitch = Self.rowHeight + (hasWires ? Self.wireHeight : 0)
        for rank in 0 ..< timeline.rankCount {
            label("rank \(rank)", Self.left - 8, y + Double(rank) * pitch + 17, anchor: "end")
        }
        for entry in timeline.entries where entry.end > entry.start {
            let row = y + Double(entry.rank.rawValue) * pitch
            let x = Self.left + entry.start * scale
            let width = (entry.end - entry.start) * scale
            if entry.lane == .communication {
                box(
                    x, row + Self.rowHeight, width, Self.wireHeight - 2,
                    Self.fill(entry.kind, false))
            } else {
                draw(entry, x: x, y: row, width: width)
            }
        }
        y += Double(timeline.rankCount) * pitch + 16
    }

    /// A step with the number of its micro-batch; a pair is split, forward above backward.
    private mutating func draw(_ entry: TimelineEntry, x: Double, y: Double, width: Double) {
        let parts = entry.label.split(separator: "&").map(String.init)
        let size = min(10, max(4, width / 2.2))
        guard entry.kind == .overlapped, parts.count == 2 else {
            box(x, y, width, Self.rowHeight, Self.fill(entry.kind, entry.isSecondDirection))
            label(String(entry.label.dropFirst()), x + width / 2, y + 17, size: size)
            return
        }
        let half = Self.rowHeight / 2
        box(x, y, width, half, Self.fill(.forward, entry.isSecondDirection))
        label(String(parts[0].dropFirst()), x + width / 2, y + 10, size: size)
        box(x, y + half, width, half, Self.fill(.backward, !entry.isSecondDirection))
        label(String(parts[1].dropFirst()), x + width / 2, y + half + 10, size: size)
    }

    mutating func legend() {
        var x = Self.left
        let items: [(TimelineEntry.Kind, String)] = [
            (.forward, "forward"), (.backward, "backward"),
            (.backwardInput, "backward for input"), (.backwardWeight, "backward for weights"),
            (.transfer, "communication"), (.exposed, "exposed communication"),
        ]
        for (kind, name) in items {
            box(x, y, 14, 12, Self.fill(kind, false))
            label(name, x + 19, y + 10, anchor: "start")
            x += 34 + 6 * Double(name.count)
        }
        label(
            "darker: the other direction; a split box is an overlapped forward and backward", x,
            y + 10, anchor: "start")
        y += 26
    }
}

extension Timeline {
    /// Draws timelines under each other on the same time axis, planned and measured for example.
    ///
    /// - Parameter width: Of the longest time axis, in pixels.
    public static func svg(_ timelines: [Timeline], width: Double = 1600) -> String {
        let end = timelines.map(\.end).max() ?? 0
        var painter = SVGPainter(scale: width / max(end, .leastNormalMagnitude))
        for timeline in timelines { painter.draw(timeline) }
        painter.legend()
        let fullWidth = Int(width + SVGPainter.left + 20)
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(fullWidth)" \
            height="\(Int(painter.y))" viewBox="0 0 \(fullWidth) \(Int(painter.y))" \
            font-family="Helvetica, Arial, sans-serif">
            <rect width="100%" height="100%" fill="white"/>
            \(painter.body.joined(separator: "\n"))
            </svg>

            """
    }
}
