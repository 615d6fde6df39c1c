import Foundation

extension Plot {
    /// Draws the lines, with ticks at round numbers and a legend.
    public func svg() -> String {
        var painter = PlotPainter(self)
        painter.draw()
        return painter.canvas.file(
            width: PlotPainter.width, height: PlotPainter.height, title: title)
    }
}

/// Draws one plot.
private struct PlotPainter {
    static let width = 900.0
    static let height = 480.0
    private static let left = 84.0
    private static let right = Self.width - 28
    private static let bottom = Self.height - 62
    private static let fontSize = 13.0
    private static let inks: [SVGCanvas.Ink] = [
        .blue, .orange, .green, .purple, .amber, .sky, .red, .faint,
    ]

    let plot: Plot
    var canvas = SVGCanvas()
    /// By the order in which they first appear.
    private let names: [String]
    private let top: Double
    private let horizontal: (ticks: Ticks, range: ClosedRange<Double>)
    private let vertical: (ticks: Ticks, range: ClosedRange<Double>)

    init(_ plot: Plot) {
        self.plot = plot
        names = plot.lines.reduce(into: []) { if !$0.contains($1.name) { $0.append($1.name) } }
        let points = plot.lines.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
        var x = Self.range(points.map(\.x))
        // Where what is counted begins near 0, the axis begins there.
        if x.lowerBound > 0, x.lowerBound < x.upperBound / 10 { x = 0 ... x.upperBound }
        let across = Ticks(x, atMost: 9, wholeNumbers: plot.horizontal.wholeNumbers ?? false)
        horizontal = (across, x)
        let y = Self.range(points.map(\.y))
        vertical = Ticks(y, atMost: 8, wholeNumbers: plot.vertical.wholeNumbers ?? false)
            .covering(y)
        top = Self.legendTop(plot) + 22 * Double(Self.legendRows(names).count) + 8
    }

    /// From the least to the greatest; some width even where they are one.
    private static func range(_ values: [Double]) -> ClosedRange<Double> {
        guard let low = values.min(), let high = values.max() else { return 0 ... 1 }
        guard low == high else { return low ... high }
        return low - max(1, abs(low)) / 10 ... high + max(1, abs(high)) / 10
    }

    private static func legendTop(_ plot: Plot) -> Double { plot.subtitle == nil ? 48 : 70 }

    /// Which names stand in one row, as many as there is room for.
    private static func legendRows(_ names: [String]) -> [[String]] {
        var rows: [[String]] = [[]]
        var x = left
        for name in names {
            let needed = legendWidth(name)
            if x + needed > right, rows.last?.isEmpty == false {
                rows.append([])
                x = left
            }
            rows[rows.count - 1].append(name)
            x += needed
        }
        return rows
    }

    private static func legendWidth(_ name: String) -> Double {
        34 + SVGCanvas.width(of: name, size: fontSize) + 22
    }

    private func ink(_ name: String) -> SVGCanvas.Ink {
        Self.inks[(names.firstIndex(of: name) ?? 0) % Self.inks.count]
    }

    private func place(_ point: Plot.Point) -> (x: Double, y: Double) {
        let (across, up) = (horizontal.range, vertical.range)
        return (
            Self.left + (point.x - across.lowerBound) / (across.upperBound - across.lowerBound)
                * (Self.right - Self.left),
            Self.bottom - (point.y - up.lowerBound) / (up.upperBound - up.lowerBound)
                * (Self.bottom - top)
        )
    }

    mutating func draw() {
        canvas.text(
            plot.title, x: Self.left, y: 30, size: 18, anchor: .start, isBold: true)
        if let subtitle = plot.subtitle {
            canvas.text(
                subtitle, x: Self.left, y: 52, size: Self.fontSize, anchor: .start, ink: .faint)
        }
        drawLegend()
        drawAxes()
        for line in plot.lines { draw(line) }
    }

    private mutating func drawLegend() {
        for (row, names) in Self.legendRows(names).enumerated() {
            var x = Self.left
            let y = Self.legendTop(plot) + 22 * Double(row) + 12
            for name in names {
                canvas.line([(x, y - 4), (x + 26, y - 4)], ink(name), width: 2.5)
                if plot.lines.contains(where: { $0.name == name && $0.style == .dotted }) {
                    canvas.dot(x: x + 13, y: y - 4, radius: 4, ink(name))
                }
                canvas.text(name, x: x + 34, y: y, size: Self.fontSize, anchor: .start)
                x += Self.legendWidth(name)
            }
        }
    }

    private mutating func drawAxes() {
        for value in vertical.ticks.values {
            let y = place(Plot.Point(horizontal.range.lowerBound, value)).y
            let isZero = abs(value) < vertical.ticks.step / 2
            canvas.line(
                [(Self.left, y), (Self.right, y)], isZero ? .line : .grid,
                width: isZero ? 1.5 : 1)
            canvas.text(
                vertical.ticks.label(value), x: Self.left - 9, y: y + 4.5, size: Self.fontSize,
                anchor: .end, ink: .faint)
        }
        canvas.line([(Self.left, Self.bottom), (Self.right, Self.bottom)], .line)
        for value in horizontal.ticks.values {
            let x = place(Plot.Point(value, vertical.range.lowerBound)).x
            canvas.line([(x, Self.bottom), (x, Self.bottom + 6)], .line)
            canvas.text(
                horizontal.ticks.label(value), x: x, y: Self.bottom + 22, size: Self.fontSize,
                ink: .faint)
        }
        canvas.text(
            plot.horizontal.title, x: (Self.left + Self.right) / 2, y: Self.height - 16,
            size: Self.fontSize + 1)
        canvas.text(
            plot.vertical.title, x: 24, y: (top + Self.bottom) / 2, size: Self.fontSize + 1,
            isUpright: true)
    }

    private mutating func draw(_ line: Plot.Line) {
        let isPale = line.style == .pale
        let pieces = line.points.split(omittingEmptySubsequences: true) {
            !$0.x.isFinite || !$0.y.isFinite
        }
        for piece in pieces {
            let places = Self.thinned(piece.map(place))
            canvas.line(
                places, ink(line.name), width: isPale ? 1 : plot.lines.count > 8 ? 1.5 : 2.2,
                opacity: isPale ? 0.35 : 1)
            guard line.style == .dotted || piece.count == 1 else { continue }
            for place in places {
                canvas.dot(x: place.x, y: place.y, radius: 4, ink(line.name))
            }
        }
    }

    /// Of more points than a screen has columns, the least and the greatest of each column.
    private static func thinned(_ places: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        guard places.count > 4 * Int(width) else { return places }
        var result: [(x: Double, y: Double)] = []
        var index = 0
        while index < places.count {
            let column = places[index].x.rounded(.down)
            var end = index
            while end < places.count, places[end].x.rounded(.down) == column { end += 1 }
            let low = (index ..< end).min { places[$0].y < places[$1].y } ?? index
            let high = (index ..< end).max { places[$0].y < places[$1].y } ?? index
            result += Set([low, high]).sorted().map { places[$0] }
            index = end
        }
        return result
    }
}
