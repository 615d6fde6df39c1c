/// Published numbers of one place.
package struct PublishedTable: Codable, Sendable {
    /// As a heading.
    package let title: String
    /// In the order of the source.
    package let figures: [PublishedFigure]
    /// Whether its numbers were measured, so that a model can only come near.
    package let isMeasured: Bool

    init(_ title: String, isMeasured: Bool = false, _ figures: [PublishedFigure]) {
        self.title = title
        self.figures = figures
        self.isMeasured = isMeasured
    }

    /// The mean of the figures' errors.
    package var meanError: Double {
        figures.reduce(0) { $0 + $1.error } / Double(max(1, figures.count))
    }

    /// All that this room knows.
    package static func all() -> [PublishedTable] {
        [inference, shapes, training, networks, dualPipe, systems, spread, denseModels]
            + exchanges
    }

    /// The table for people.
    ///
    /// - Parameter explained: Whether every figure is followed by its formula and source.
    package func text(explained: Bool) -> String {
        let width = max(24, figures.map(\.name.count).max() ?? 0)
        func row(_ cells: [String]) -> String {
            "  " + cells[0] + String(repeating: " ", count: max(0, width - cells[0].count))
                + cells.dropFirst().map {
                    String(repeating: " ", count: max(1, 18 - $0.count)) + $0
                }.joined()
        }
        var lines = [title, row(["", "published", "computed", "error"])]
        for figure in figures {
            lines.append(
                row([
                    figure.name, Figure.text(figure.published, figure.unit),
                    Figure.text(figure.computed, figure.unit),
                    Figure.text(figure.error, .share),
                ]))
            if explained {
                lines.append("      = \(figure.formula)")
                lines.append("      source: \(figure.source)")
            }
        }
        lines.append("  mean absolute error \(Figure.text(meanError, .share))")
        return lines.joined(separator: "\n") + "\n"
    }
}
