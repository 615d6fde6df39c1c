/// Boxes and the wires between them: how machines are joined.
package struct Diagram: Sendable {
    /// What a box stands for, which decides its colour.
    package enum Kind: Sendable {
        /// A switch, or a whole network of them.
        case network
        /// A machine.
        case node
        /// One process.
        case rank
    }

    /// One box with words in its middle.
    package struct Box: Sendable {
        let kind: Kind
        let lines: [String]
        let x: Double
        let y: Double
        let width: Double
        let height: Double

        /// Places are in pixels from the upper left corner below the heading.
        package init(
            _ kind: Kind, _ lines: [String], x: Double, y: Double, width: Double, height: Double
        ) {
            self.kind = kind
            self.lines = lines
            self.x = x
            self.y = y
            self.width = width
            self.height = height
        }
    }

    /// Above the picture.
    package var title: String
    /// Below the title, smaller, one line each.
    package var notes: [String]
    /// What is drawn, the last one on top.
    package var boxes: [Box] = []
    /// From the lower edge of a box to the upper edge of another, by number.
    package var wires: [(upper: Int, lower: Int)] = []

    package init(title: String, notes: [String]) {
        self.title = title
        self.notes = notes
    }

    /// The picture.
    package func svg() -> String {
        var canvas = SVGCanvas()
        let left = 24.0
        canvas.text(title, x: left, y: 30, size: 18, anchor: .start, isBold: true)
        for (index, note) in notes.enumerated() {
            canvas.text(
                note, x: left, y: 52 + 18 * Double(index), size: 12, anchor: .start, ink: .faint)
        }
        let top = 62 + 18 * Double(notes.count)
        for wire in wires {
            let (upper, lower) = (boxes[wire.upper], boxes[wire.lower])
            canvas.line(
                [
                    (left + upper.x + upper.width / 2, top + upper.y + upper.height),
                    (left + lower.x + lower.width / 2, top + lower.y),
                ], .line, width: 1.2, opacity: 0.7)
        }
        for box in boxes {
            let ink: SVGCanvas.Ink =
                switch box.kind {
                case .network: .input
                case .node: .transfer
                case .rank: .forward
                }
            canvas.box(
                x: left + box.x, y: top + box.y, width: box.width, height: box.height, ink,
                edge: .faint)
            let middle = top + box.y + box.height / 2 - 7 * Double(box.lines.count - 1)
            for (index, line) in box.lines.enumerated() {
                canvas.text(
                    line, x: left + box.x + box.width / 2, y: middle + 4 + 14 * Double(index),
                    size: 11, ink: nil)
            }
        }
        let longest = ([title] + notes).map { SVGCanvas.width(of: $0, size: 14) }.max() ?? 0
        let right = max(longest, boxes.map { $0.x + $0.width }.max() ?? 0)
        let bottom = boxes.map { $0.y + $0.height }.max() ?? 0
        return canvas.file(width: left + right + 24, height: top + bottom + 24, title: title)
    }
}
