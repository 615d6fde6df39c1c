import ArgumentParser
import Checkpoints
import Encoding
import Foundation
import Pipeline

/// `apus plot`: draws numbers of any program as Apus draws its own.
struct PlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot",
        abstract: "Draws lines over two axes from a JSON file, as an SVG picture.",
        discussion: """
            Example:
              apus plot loss.json --svg loss.svg

            The file holds the title, the axes and the lines:

              {"title": "Loss", "subtitle": "two runs",
               "horizontal": {"title": "training step", "wholeNumbers": true},
               "vertical": {"title": "loss, nats per token"},
               "lines": [{"name": "bf16", "points": [[1, 7.6], [2, 7.1]]},
                         {"name": "FP8", "style": "dotted", "points": [[1, 7.6], [2, 7.2]]}]}

            A style is line (the default), dotted, or pale. Lines of one name share a colour and \
            an entry of the legend.
            """)

    @Argument(help: "A JSON file that describes the picture.")
    var file: String

    @Option(help: "Write the picture to this file.")
    var svg: String

    func run() throws {
        try reporting {
            let data = try WholeFile.read(file, limit: 64 << 20) {
                CheckpointError.file(file, fact: "\($0)")
            }
            let plot: Plot
            do {
                plot = try JSONDecoder().decode(Plot.self, from: data)
            } catch {
                throw CheckpointError.file(file, fact: "describes no plot: \(error)")
            }
            do {
                try Data(plot.svg().utf8).write(to: URL(filePath: svg))
            } catch {
                throw CheckpointError.file(svg, fact: "cannot be written")
            }
        }
    }
}
