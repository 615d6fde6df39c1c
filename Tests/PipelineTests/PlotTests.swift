import Foundation
import Testing

@testable import Pipeline

/// Pictures of lines: round ticks, a legend, and values that are not finite.
@Suite struct PlotTests {
    @Test(
        arguments: [
            (1.708 ... 7.671, 8, ["2", "3", "4", "5", "6", "7"]),
            (0.0 ... 1640, 9, ["0", "200", "400", "600", "800", "1000", "1200", "1400", "1600"]),
            (-0.63 ... 1.49, 8, ["\u{2212}0.5", "0.0", "0.5", "1.0"]),
            (0.00021 ... 0.00048, 4, ["0.0003", "0.0004"]),
            (1.0 ... 3.0, 9, ["1.0", "1.5", "2.0", "2.5", "3.0"]),
        ] as [(ClosedRange<Double>, Int, [String])])
    func `ticks are round numbers, no more than have room`(
        range: ClosedRange<Double>, count: Int, labels: [String]
    ) {
        let ticks = Ticks(range, atMost: count)
        #expect(ticks.values.map(ticks.label) == labels)
    }

    @Test func `an axis of steps has no half steps`() {
        let ticks = Ticks(1 ... 3, atMost: 9, wholeNumbers: true)
        #expect(ticks.values == [1, 2, 3])
    }

    @Test func `ranges of any place and width have a few ticks inside`() {
        for index in 0 ..< 2000 {
            let low = 1e6 * sin(Double(index))
            let width = pow(10, Double(index % 90) / 10 - 2)
            let range = low ... low + width
            let ticks = Ticks(range, atMost: 8)
            #expect((1 ... 8).contains(ticks.values.count), "\(range)")
            let slack = 1e-6 * ticks.step
            #expect(ticks.values.first ?? low >= low - slack, "\(range)")
            #expect(ticks.values.last ?? low <= low + width + slack, "\(range)")
            let covering = ticks.covering(range).range
            #expect(covering.lowerBound <= low + slack, "\(range)")
            #expect(covering.upperBound >= low + width - slack, "\(range)")
        }
    }

    private static func plot(_ lines: [Plot.Line]) -> Plot {
        Plot(
            title: "Loss & <more>", horizontal: Plot.Axis("training step", wholeNumbers: true),
            vertical: Plot.Axis("loss, nats per token"), lines: lines)
    }

    @Test func `a picture has its title, both axes and every name once`() throws {
        let points = (0 ..< 10).map { Plot.Point(Double($0), Double($0 * $0)) }
        let svg = Self.plot([
            Plot.Line("a", points, style: .pale), Plot.Line("a", points),
            Plot.Line("b", points, style: .dotted),
        ]).svg()
        #expect(try XMLDocumentCheck.isWellFormed(svg))
        for words in ["Loss &amp; &lt;more&gt;", "training step", "loss, nats per token"] {
            #expect(svg.contains(">\(words)</text>"), "\(words)")
        }
        for name in ["a", "b"] {
            #expect(svg.components(separatedBy: ">\(name)</text>").count == 2)
        }
        #expect(svg.contains("prefers-color-scheme: dark"))
        #expect(!svg.contains("nan") && !svg.contains("inf"))
    }

    @Test func `a line is cut where a value is not finite`() {
        let values: [Double] = [1, 2, .nan, 4, 5, .infinity, 7, 8]
        let points = values.enumerated().map { Plot.Point(Double($0), $1) }
        let svg = Self.plot([Plot.Line("a", points)]).svg()
        let lines = svg.components(separatedBy: "stroke-width=\"2.20\"").count - 1
        #expect(lines == 3)
        #expect(!svg.contains("nan"))
    }

    @Test(arguments: [[], [3.5], [2, 2, 2]])
    func `few or equal values are drawn too`(values: [Double]) throws {
        let points = values.enumerated().map { Plot.Point(Double($0), $1) }
        let svg = Self.plot([Plot.Line("a", points)]).svg()
        #expect(try XMLDocumentCheck.isWellFormed(svg))
        #expect(!svg.contains("nan") && !svg.contains("inf"))
    }

    @Test func `a long run is drawn with no more points than a screen shows`() {
        let points = (0 ..< 100_000).map { Plot.Point(Double($0), sin(Double($0))) }
        let svg = Self.plot([Plot.Line("a", points)]).svg()
        #expect(svg.utf8.count < 100_000)
    }

    @Test func `a mean stands in the middle of its points`() {
        let line = Plot.Line("a", (1 ... 6).map { Plot.Point(Double($0), Double($0)) })
        let means = line.mean(over: 3).points
        #expect(means.map(\.x) == [2, 3, 4, 5])
        #expect(means.map(\.y) == [2, 3, 4, 5])
    }

    @Test func `a plot is read from JSON as other programs write it`() throws {
        let text = """
            {"title": "t", "horizontal": {"title": "x"}, "vertical": {"title": "y"},
             "lines": [{"name": "a", "points": [[0, 1.5], [1, 2]]}]}
            """
        let plot = try JSONDecoder().decode(Plot.self, from: Data(text.utf8))
        #expect(plot.lines[0].points.map(\.y) == [1.5, 2])
        #expect(plot.svg().contains(">1.5<"))
    }
}
