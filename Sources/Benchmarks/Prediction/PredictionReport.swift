import Collectives
import Planner

/// Predicted beside measured times of all settings, as `--json` prints it.
package struct PredictionReport: Codable, Sendable {
    /// One setting.
    package struct Row: Codable, Sendable {
        package let setting: PredictionSetting
        package let dispatch: ExchangePrediction.Half
        package let combine: ExchangePrediction.Half
        /// Of a dispatch with its combine; measured are medians over iterations.
        package let predictedSeconds: Double
        package let measuredSeconds: Double
        /// The least of all iterations, which neighbours on the machine disturb least.
        package let leastMeasuredSeconds: Double
        package let measuredDispatchSeconds: Double, measuredCombineSeconds: Double
        /// How far the predicted time is from the measured one, as a share of it.
        package let error: Double
        /// What the exchange waits for, half by half.
        package let bound: String

        package init(
            _ setting: PredictionSetting, _ predicted: ExchangePrediction,
            _ measured: MeasuredExchange
        ) throws {
            self.setting = setting
            (dispatch, combine) = try predicted.halves(of: setting)
            predictedSeconds = dispatch.seconds + combine.seconds
            measuredDispatchSeconds = measured.seconds(.dispatch)
            measuredCombineSeconds = measured.seconds(.combine)
            measuredSeconds = measuredDispatchSeconds + measuredCombineSeconds
            leastMeasuredSeconds = measured.leastSeconds
            error = measuredSeconds > 0 ? predictedSeconds / measuredSeconds - 1 : 0
            bound =
                dispatch.bound == combine.bound
                ? dispatch.bound : "\(dispatch.bound), then \(combine.bound)"
        }
    }

    /// Tokens of a rank, and values of a token.
    package let tokens: Int, hidden: Int
    /// That the ranks of a lab share.
    package let cores: Int
    /// Processes that ran or waited for a core before the first setting, averaged over a minute;
    /// nil where the system does not say.
    package let loadAverage: Double?
    package let memoryAnchor: MeasuredExchange
    package let socketAnchor: MeasuredExchange
    package let rows: [Row]
    /// Of the errors without their signs.
    package let medianError: Double
    package let worstError: Double
    package let leftOut: [String]

    /// The most that the errors should be.
    package static let medianLimit = 0.10, worstLimit = 0.20

    package init(
        _ options: AllToAllOptions, cores: Int, loadAverage: Double?, memory: MeasuredExchange,
        sockets: MeasuredExchange, rows: [Row]
    ) {
        (tokens, hidden) = (options.tokenCount, options.hiddenSize)
        (self.cores, self.loadAverage) = (cores, loadAverage)
        (memoryAnchor, socketAnchor) = (memory, sockets)
        self.rows = rows
        let errors = rows.map { abs($0.error) }.sorted()
        let middle = errors.count / 2
        medianError =
            errors.isEmpty
            ? 0
            : errors.count.isMultiple(of: 2)
                ? (errors[middle - 1] + errors[middle]) / 2 : errors[middle]
        worstError = errors.last ?? 0
        leftOut = [
            "what a half costs beyond its bytes and rows: the start of ranks, barriers, latency",
            "ranks that wait for a core while the wire is idle",
        ]
    }

    /// Whether the errors are within their limits.
    package var isWithinLimits: Bool {
        medianError <= Self.medianLimit && worstError <= Self.worstLimit
    }

    /// One process that uses a core all the time would take it from the ranks.
    private static let quietLoad = 1.0

    /// As people read it.
    package var text: String {
        let width = rows.map(\.setting.title.count).max() ?? 0
        func line(_ title: String, _ cells: [String]) -> String {
            title.padding(to: width)
                + cells.map { String(repeating: " ", count: max(1, 12 - $0.count)) + $0 }.joined()
        }
        func seconds(_ value: Double) -> String { Figure.text(value, .seconds) }
        func share(_ value: Double) -> String { Report.number(value * 100) + "%" }
        var lines = [
            "exchanges of serving: \(tokens) tokens of a rank, \(hidden) values, \(cores) cores",
            "anchor: memory \(seconds(memoryAnchor.seconds(.dispatch))) + "
                + "\(seconds(memoryAnchor.seconds(.combine))), sockets "
                + "\(seconds(socketAnchor.seconds(.dispatch))) + "
                + "\(seconds(socketAnchor.seconds(.combine))) (dispatch + combine)",
            line("", ["predicted", "measured", "error", "least"]) + "  bound by",
        ]
        lines += rows.map { row in
            line(
                row.setting.title,
                [
                    seconds(row.predictedSeconds), seconds(row.measuredSeconds), share(row.error),
                    seconds(row.leastMeasuredSeconds),
                ]) + "  " + row.bound
        }
        lines.append(
            "median error \(share(medianError)) (at most \(share(Self.medianLimit))), worst "
                + "\(share(worstError)) (at most \(share(Self.worstLimit)))")
        if let loadAverage, loadAverage > Self.quietLoad {
            lines.append(
                "the machine did other work: its load was \(Report.number(loadAverage)) before; "
                    + "run this on a machine that does nothing else")
        }
        lines += leftOut.map { "left out: \($0)" }
        return lines.joined(separator: "\n")
    }
}

extension String {
    fileprivate func padding(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
