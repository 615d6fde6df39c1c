import Pipeline

/// Training and validation loss over steps, as a picture.
struct LossCurve {
    let training: [(step: Int, loss: Double)]
    let validation: [(step: Int, loss: Double)]

    /// Means over so many steps are drawn: enough to see the trend of a run.
    private var window: Int { training.count / 50 }

    var plot: Plot {
        func points(_ values: [(step: Int, loss: Double)]) -> [Plot.Point] {
            values.map { Plot.Point(Double($0.step), $0.loss) }
        }
        let all = Plot.Line("training", points(training))
        var lines = [all]
        if window > 1 {
            let name = "training, mean of \(window) steps"
            lines = [
                Plot.Line(name, all.points, style: .pale),
                Plot.Line(name, all.mean(over: window).points),
            ]
        }
        if !validation.isEmpty {
            lines.append(Plot.Line("validation", points(validation), style: .dotted))
        }
        return Plot(
            title: "Loss over \(training.last?.step ?? 0) steps",
            horizontal: Plot.Axis("training step", wholeNumbers: true),
            vertical: Plot.Axis("loss, nats per token"), lines: lines)
    }
}
