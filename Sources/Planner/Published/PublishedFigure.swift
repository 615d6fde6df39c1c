/// A number that somebody published, beside what this room computes for it.
package struct PublishedFigure: Codable, Sendable {
    /// What it is, unique among all.
    package let name: String
    /// As published.
    package let published: Double
    /// As computed here.
    package let computed: Double
    /// What it counts.
    package let unit: Figure.Unit
    /// How it was computed.
    package let formula: String
    /// Where it was published.
    package let source: String

    init(
        _ name: String, _ published: Double, _ computed: Double, _ unit: Figure.Unit,
        _ formula: String, source: String
    ) {
        self.name = name
        self.published = published
        self.computed = computed
        self.unit = unit
        self.formula = formula
        self.source = source
    }

    /// How far the computed number lies from the published one, as a share of it.
    package var error: Double {
        published == 0 ? abs(computed) : abs(computed - published) / abs(published)
    }
}
