import Foundation

/// A picture under way: shapes and words on paper that is light or dark as the reader's screen is.
///
/// Attributes hold the light colours, which every program draws; a style sheet changes them where
/// a program says that its reader prefers dark.
struct SVGCanvas {
    /// What a colour is for.
    enum Ink: String, CaseIterable {
        case paper, text, faint, line, grid
        case blue, orange, green, purple, amber, sky, red
        case forward, forwardSecond, backward, backwardSecond, input, inputSecond
        case weight, weightSecond, transfer, exposed

        /// Colours that readers tell apart who see no red, no green or no blue.
        ///
        /// Lines have those of Okabe and Ito 2008, lighter on dark paper; boxes a light and a
        /// darker tone of one hue, whose words stay black.
        var colours: (light: String, dark: String) {
            switch self {
            case .paper: ("#ffffff", "#14171c")
            case .text: ("#1c2128", "#e3e6ea")
            case .faint: ("#59636e", "#a0a8b2")
            case .line: ("#8a929c", "#6a727c")
            case .grid: ("#e4e7eb", "#2b3038")
            case .blue: ("#0072b2", "#4fb3f0")
            case .orange: ("#d55e00", "#ff9a4d")
            case .green: ("#009e73", "#3fd0a4")
            case .purple: ("#a4578a", "#e39cc8")
            case .amber: ("#a67c00", "#f2cf4d")
            case .sky: ("#3a9bd0", "#8fd3ff")
            case .red: ("#b3001b", "#ff6b7a")
            case .forward: ("#f8d58c", "#f8d58c")
            case .forwardSecond: ("#e8a33d", "#e8a33d")
            case .backward: ("#b3dcc9", "#b3dcc9")
            case .backwardSecond: ("#4fa98a", "#4fa98a")
            case .input: ("#b5dcf2", "#b5dcf2")
            case .inputSecond: ("#56a6d8", "#56a6d8")
            case .weight: ("#d9d2ee", "#d9d2ee")
            case .weightSecond: ("#a193d1", "#a193d1")
            case .transfer: ("#b8bcc4", "#b8bcc4")
            case .exposed: ("#b3001b", "#ff4d5e")
            }
        }
    }

    /// How a word stands to its place.
    enum Anchor: String {
        case start, middle, end
    }

    private var shapes: [String] = []

    /// Two digits behind the point are less than any screen shows.
    static func number(_ value: Double) -> String {
        let text = String(format: "%.2f", value)
        return text.hasSuffix(".00") ? String(text.dropLast(3)) : text
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }

    mutating func box(
        x: Double, y: Double, width: Double, height: Double, _ fill: Ink, edge: Ink? = nil
    ) {
        let border = edge.map { " stroke=\"\($0.colours.light)\" stroke-width=\"0.4\"" } ?? ""
        shapes.append(
            "<rect class=\"\(fill.rawValue)\" x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" "
                + "width=\"\(Self.number(width))\" height=\"\(Self.number(height))\" "
                + "fill=\"\(fill.colours.light)\"\(border)/>")
    }

    mutating func line(
        _ points: [(x: Double, y: Double)], _ ink: Ink, width: Double = 1, opacity: Double = 1
    ) {
        let path = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }
        let faint = opacity < 1 ? " stroke-opacity=\"\(Self.number(opacity))\"" : ""
        shapes.append(
            "<polyline class=\"\(ink.rawValue)-line\" points=\"\(path.joined(separator: " "))\" "
                + "fill=\"none\" stroke=\"\(ink.colours.light)\" "
                + "stroke-width=\"\(Self.number(width))\" stroke-linejoin=\"round\"\(faint)/>")
    }

    mutating func dot(x: Double, y: Double, radius: Double, _ ink: Ink) {
        shapes.append(
            "<circle class=\"\(ink.rawValue)\" cx=\"\(Self.number(x))\" cy=\"\(Self.number(y))\" "
                + "r=\"\(Self.number(radius))\" fill=\"\(ink.colours.light)\"/>")
    }

    /// - Parameters:
    ///   - ink: Black where it stands on a box, whose colour is light on any paper.
    ///   - isUpright: Whether it runs from bottom to top.
    mutating func text(
        _ words: String, x: Double, y: Double, size: Double, anchor: Anchor = .middle,
        ink: Ink? = .text, isBold: Bool = false, isUpright: Bool = false
    ) {
        let place = "x=\"\(Self.number(x))\" y=\"\(Self.number(y))\""
        let turn =
            isUpright ? " transform=\"rotate(-90 \(Self.number(x)) \(Self.number(y)))\"" : ""
        let kind = ink.map { "class=\"\($0.rawValue)\" " } ?? ""
        shapes.append(
            "<text \(kind)\(place) font-size=\"\(Self.number(size))\" "
                + "text-anchor=\"\(anchor.rawValue)\" fill=\"\(ink?.colours.light ?? "#1c2128")\""
                + (isBold ? " font-weight=\"bold\"" : "")
                + "\(turn)>\(Self.escaped(words))</text>")
    }

    /// About how wide words are: letters of the fonts named below are half as wide as high.
    static func width(of words: String, size: Double) -> Double {
        0.55 * size * Double(words.count)
    }

    /// The whole file.
    func file(width: Double, height: Double, title: String) -> String {
        let size = "\(Int(width.rounded(.up))) \(Int(height.rounded(.up)))".split(separator: " ")
        let dark = Ink.allCases.filter { $0.colours.light != $0.colours.dark }.map { ink in
            ".\(ink.rawValue){fill:\(ink.colours.dark)}"
                + ".\(ink.rawValue)-line{stroke:\(ink.colours.dark)}"
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(size[0])" height="\(size[1])" \
            viewBox="0 0 \(size[0]) \(size[1])" font-family="Helvetica, Arial, sans-serif">
            <title>\(Self.escaped(title))</title>
            <style>@media (prefers-color-scheme: dark){\(dark.joined())}</style>
            <rect class="paper" width="100%" height="100%" fill="\(Ink.paper.colours.light)"/>
            \(shapes.joined(separator: "\n"))
            </svg>

            """
    }
}
