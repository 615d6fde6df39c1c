/// What a plan comes to: figures in groups, and what they leave out.
package struct PlanReport: Codable, Sendable {
    /// Figures that belong together.
    package struct Group: Codable, Sendable {
        /// As a heading.
        package let title: String
        /// In reading order.
        package var figures: [Figure]
    }

    /// What was planned, in a line.
    package let title: String
    /// In reading order.
    package var groups: [Group]
    /// What the model takes as given.
    package var assumptions: [String]
    /// What the model leaves out.
    package var omissions: [String]

    /// The value of the figure with this name.
    package func value(_ name: String) -> Double? {
        groups.lazy.flatMap(\.figures).first { $0.name == name }?.value
    }

    /// The report for people.
    ///
    /// - Parameter explained: Whether every figure is followed by its formula and source.
    package func text(explained: Bool) -> String {
        let width = groups.flatMap(\.figures).map(\.name.count).max() ?? 0
        var lines = [title, ""]
        for group in groups {
            lines.append(group.title)
            for figure in group.figures {
                let padding = String(repeating: " ", count: width - figure.name.count)
                lines.append("  \(figure.name)\(padding)  \(figure.text)")
                if explained {
                    lines.append("      = \(figure.formula)")
                    lines.append("      source: \(figure.source)")
                }
            }
            lines.append("")
        }
        lines.append("taken as given")
        lines += assumptions.map { "  - \($0)" }
        lines.append("left out")
        lines += omissions.map { "  - \($0)" }
        return lines.joined(separator: "\n") + "\n"
    }
}
