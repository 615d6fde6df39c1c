import Foundation
import Models
import Pipeline
import Tensors
import Topology

/// What rank 0 tells about a run: a line per step in `metrics.jsonl`, a line for people, and the
/// loss curve at the end.
final class MetricsLog {
    /// One line of `metrics.jsonl`.
    struct Line: Codable {
        var step: Int
        var loss: Double
        var mtpLoss: Double
        var gradientNorm: Double
        var learningRate: Double
        var expertViolation: Double
        var tokensPerSecond: Double
        /// Achieved floating-point operations per second, those of attention included.
        var flops: Double
        /// That rate over what the ranks' threads reach on registers alone, measured at the start.
        var mfu: Double?
        /// Tokens of the step.
        var tokens: Int?
        /// Share of rank 0's step in which it neither computed nor was told to.
        var bubble: Double
        /// Share of rank 0's step that its all-to-all was under way, and the hidden part of that.
        var allToAll: Double
        var allToAllHidden: Double
        var skipped: Bool
        /// What was not finite, where the step was skipped.
        var skippedBecause: String?
        var validationLoss: Double?
        var validationMtpLoss: Double?
    }

    private let job: TrainingJob
    private let options: TrainingOptions
    private let sink: FileSink
    private var lines: [Line] = []
    private let peak: Double

    /// Keeps the lines of earlier steps when a run resumes, so that the curve is whole.
    ///
    /// - Parameter peak: Operations per second of all ranks' threads at best.
    init(job: TrainingJob, options: TrainingOptions, from step: Int, peak: Double) throws {
        self.job = job
        self.peak = peak
        self.options = options
        let path = job.output + "/metrics.jsonl"
        if step > 0, let data = FileManager.default.contents(atPath: path) {
            let decoder = JSONDecoder()
            // Version 0.1 wrote the keys in snake_case.
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            decoder.nonConformingFloatDecodingStrategy = .convertFromString(
                positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
            lines = data.split(separator: UInt8(ascii: "\n"))
                .compactMap { try? decoder.decode(Line.self, from: Data($0)) }
                .filter { $0.step <= step }
        }
        // Beside the old one until all of it is there: a full disk must not cost the curve.
        sink = try FileSink(path: path + ".partial")
        for line in lines { try sink.append(encoded(line)) }
        try sink.synchronize()
        try sink.publish(as: path)
    }

    private func encoded(_ line: Line) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return Array(try encoder.encode(line)) + [UInt8(ascii: "\n")]
    }

    /// Writes a step down and returns it as people read it.
    func add(
        step: Int, _ report: StepReport, tokens: Int, seconds: Double, exchange: ExchangeTimes,
        entries: [TimelineEntry], validation: (loss: Double, mtpLoss: Double)?
    ) throws -> String {
        let count = tokens
        let tokens = Double(count)
        let perToken = options.model.trainingOperationsPerToken(
            sequenceLength: options.sequenceLength)
        let flops = perToken * tokens / seconds
        let line = Line(
            step: step, loss: report.loss, mtpLoss: report.mtpLoss,
            gradientNorm: report.gradientNorm, learningRate: report.rate,
            expertViolation: report.expertViolation, tokensPerSecond: tokens / seconds,
            flops: flops, mfu: flops / peak,
            tokens: count, bubble: bubble(entries),
            allToAll: exchange.total / seconds, allToAllHidden: exchange.hiddenShare,
            skipped: report.wasSkipped, skippedBecause: report.trouble,
            validationLoss: validation?.loss,
            validationMtpLoss: validation?.mtpLoss)
        lines.append(line)
        try sink.append(encoded(line))
        return text(line, seconds: seconds)
    }

    private func text(_ line: Line, seconds: Double) -> String {
        let left = Int(Double(job.steps - line.step) * seconds)
        var text = "step \(line.step)/\(job.steps)"
        text += String(
            format: "  loss %.4f  mtp %.4f  norm %.3f  lr %.2e  %.0f tok/s  violation %.2f",
            line.loss, line.mtpLoss, line.gradientNorm, line.learningRate,
            line.tokensPerSecond, line.expertViolation)
        text += String(
            format: "  %.1f GFLOP/s (MFU %.1f%%)", line.flops / 1e9, 100 * (line.mfu ?? 0))
        if options.shape.pipelineRanks > 1 {
            text += String(format: "  bubble %.0f%%", 100 * line.bubble)
        }
        if options.shape.sharesExperts {
            text += String(
                format: "  all-to-all %.0f%% (%.0f%% hidden)", 100 * line.allToAll,
                100 * line.allToAllHidden)
        }
        text += "  ETA \(left / 60)m\(left % 60)s"
        if let loss = line.validationLoss {
            text += String(format: "  validation %.4f", loss)
            if let mtp = line.validationMtpLoss { text += String(format: " (mtp %.4f)", mtp) }
        }
        if let cause = line.skippedBecause { text += "  SKIPPED: \(cause)" }
        return text
    }

    private func bubble(_ entries: [TimelineEntry]) -> Double {
        let start = entries.map(\.start).min() ?? 0
        let end = entries.map(\.end).max() ?? 0
        let busy = entries.filter { $0.lane == .compute }.reduce(0) { $0 + $1.end - $1.start }
        return end > start ? 1 - busy / (end - start) : 0
    }

    /// Draws the loss curve.
    func finish() throws {
        let curve = LossCurve(
            training: lines.map { ($0.step, $0.loss) },
            validation: lines.compactMap { line in line.validationLoss.map { (line.step, $0) } })
        let path = job.output + "/loss.svg"
        let sink = try FileSink(path: path + ".partial")
        try sink.append(Array(curve.plot.svg().utf8))
        try sink.publish(as: path)
    }
}
