/// Lines over two axes: what every command that shows numbers over numbers is drawn with.
///
/// A plot is a value, so a program in another language may hand it over as JSON (`apus plot`).
public struct Plot: Codable, Sendable {
    /// What is along one side.
    public struct Axis: Codable, Sendable {
        /// What it counts, with its unit: `training step`, `loss, nats per token`.
        public var title: String
        /// Whether only whole numbers have a meaning. Default false.
        public var wholeNumbers: Bool?

        /// Names an axis.
        public init(_ title: String, wholeNumbers: Bool? = nil) {
            self.title = title
            self.wholeNumbers = wholeNumbers
        }
    }

    /// A place on both axes; `[x, y]` in JSON.
    public struct Point: Codable, Sendable {
        /// Along the horizontal axis.
        public var x: Double
        /// Along the vertical axis; a line is cut where it is not finite.
        public var y: Double

        /// Names a place.
        public init(_ x: Double, _ y: Double) {
            self.x = x
            self.y = y
        }

        /// Reads `[x, y]`.
        public init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            x = try values.decode(Double.self)
            y = try values.decode(Double.self)
        }

        /// Writes `[x, y]`.
        public func encode(to encoder: any Encoder) throws {
            var values = encoder.unkeyedContainer()
            try values.encode(x)
            try values.encode(y)
        }
    }

    /// How a line is drawn.
    public enum Style: String, Codable, Sendable {
        /// A line.
        case line
        /// A line with a dot on every point: for few points.
        case dotted
        /// A thin pale line in the colour of the line after it, without an entry of its own in
        /// the legend: the values that the line is a mean of.
        case pale
    }

    /// Points that belong together.
    public struct Line: Codable, Sendable {
        /// As the legend names it. Lines of one name have one colour and one entry.
        public var name: String
        /// From left to right.
        public var points: [Point]
        /// Default `line`.
        public var style: Style?

        /// Names points.
        public init(_ name: String, _ points: [Point], style: Style? = nil) {
            self.name = name
            self.points = points
            self.style = style
        }
    }

    /// Above the picture.
    public var title: String
    /// Below the title, smaller: what must be known to read it.
    public var subtitle: String?
    /// From left to right.
    public var horizontal: Axis
    /// From bottom to top.
    public var vertical: Axis
    /// What is drawn, the last one on top.
    public var lines: [Line]

    /// Describes a picture.
    public init(
        title: String, subtitle: String? = nil, horizontal: Axis, vertical: Axis, lines: [Line]
    ) {
        self.title = title
        self.subtitle = subtitle
        self.horizontal = horizontal
        self.vertical = vertical
        self.lines = lines
    }
}

extension Plot.Line {
    /// Means over `window` points, each in the middle of its points.
    public func mean(over window: Int) -> Plot.Line {
        precondition(window >= 1, "a mean over \(window) points")
        let finite = points.filter(\.y.isFinite)
        guard finite.count >= window else { return Plot.Line(name, []) }
        var sum = finite.prefix(window - 1).reduce(0) { $0 + $1.y }
        var means: [Plot.Point] = []
        for index in (window - 1) ..< finite.count {
            sum += finite[index].y
            let first = finite[index - window + 1]
            means.append(Plot.Point((first.x + finite[index].x) / 2, sum / Double(window)))
            sum -= first.y
        }
        return Plot.Line(name, means)
    }
}
