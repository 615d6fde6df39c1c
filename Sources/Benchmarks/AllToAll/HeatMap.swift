import Foundation

/// An N x N picture of who sends how much to whom.
public struct HeatMap: Sendable {
    private let matrix: TrafficMatrix
    private let seconds: Double
    private let title: String

    /// - Parameters:
    ///   - matrix: Bytes by source and destination.
    ///   - seconds: In which they moved, for the rates.
    public init(_ matrix: TrafficMatrix, seconds: Double, title: String) {
        self.matrix = matrix
        self.seconds = seconds
        self.title = title
    }

    private func share(_ bytes: Int) -> Double {
        matrix.largest == 0 ? 0 : Double(bytes) / Double(matrix.largest)
    }

    private func rate(_ bytes: Int) -> Double {
        seconds > 0 ? Double(bytes) / seconds / 1e9 : 0
    }

    /// For a terminal: one cell per pair, darker for more, with the rate where it fits.
    public func text(columns: Int = 100) -> String {
        let shades = [" ", "░", "▒", "▓", "█"]
        let count = matrix.bytes.count
        let hasRates = count * 8 + 10 <= columns
        var lines = ["\(title): GB/s from each rank (row) to each rank (column)"]
        let width = hasRates ? 8 : 2
        lines.append(
            "        "
                + (0 ..< count).map {
                    String(repeating: " ", count: max(0, width - "\($0)".count)) + "\($0)"
                }.joined())
        for (source, row) in matrix.bytes.enumerated() {
            let cells = row.map { bytes in
                let shade = shades[min(4, Int((share(bytes) * 4).rounded(.up)))]
                let rate = hasRates ? String(format: "%6.2f", rate(bytes)) : ""
                return " " + shade + rate
            }
            let name = "rank \(source)"
            lines.append(
                name + String(repeating: " ", count: max(1, 8 - name.count)) + cells.joined())
        }
        return lines.joined(separator: "\n")
    }

    /// As a picture of its own.
    public func svg() -> String {
        let cell = 48
        let margin = 64
        let count = matrix.bytes.count
        let side = margin + count * cell + 16
        var lines = [
            #"<svg xmlns="http://www.w3.org/2000/svg" width="\#(side)" height="\#(side + 24)""#
                + #" font-family="sans-serif" font-size="11">"#,
            #"<text x="8" y="18" font-size="13">\#(title), GB/s (row sends to column)</text>"#,
        ]
        for (source, row) in matrix.bytes.enumerated() {
            let y = margin + source * cell
            lines.append(#"<text x="8" y="\#(y + cell / 2 + 4)">rank \#(source)</text>"#)
            lines.append(
                #"<text x="\#(margin + source * cell + cell / 2)" y="\#(margin - 8)" "#
                    + #"text-anchor="middle">\#(source)</text>"#)
            for (target, bytes) in row.enumerated() {
                let x = margin + target * cell
                let share = share(bytes)
                let light = Int(95 - share * 60)
                lines.append(
                    #"<rect x="\#(x)" y="\#(y)" width="\#(cell - 2)" height="\#(cell - 2)" "#
                        + #"fill="hsl(215,60%,\#(light)%)"/>"#)
                let ink = light < 60 ? "white" : "black"
                let text = String(format: "%.2f", rate(bytes))
                lines.append(
                    #"<text x="\#(x + cell / 2 - 1)" y="\#(y + cell / 2 + 4)" fill="\#(ink)" "#
                        + #"text-anchor="middle">\#(text)</text>"#)
            }
        }
        lines.append("</svg>")
        return lines.joined(separator: "\n") + "\n"
    }
}
