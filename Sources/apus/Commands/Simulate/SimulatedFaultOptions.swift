import ArgumentParser
import Benchmarks
import Topology

/// What goes wrong in a simulation.
struct SimulatedFaultOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A rank dies, as 12@20us after the start.", valueName: "rank@time"))
    var kill: [String] = []

    @Option(
        help: ArgumentHelp("A link is cut, as node3.plane2.out@20us.", valueName: "link@time"))
    var cut: [String] = []

    @Option(
        help: ArgumentHelp(
            "The links of a rank's node carry nothing for a time, as 12@20us+1ms.",
            valueName: "rank@time+time"))
    var pause: [String] = []

    @Option(
        help: ArgumentHelp(
            "A link carries a share of its rate, as node3.plane2.out=0.1.",
            valueName: "link=share"))
    var slow: [String] = []

    @Option(
        help: ArgumentHelp(
            "A rank computes so many times as long, as 5=3.", valueName: "rank=factor"))
    var straggler: [String] = []

    @Option(help: "Messages are late by up to this time, so that planes overtake each other.")
    var jitter = "0us"

    @Option(help: "Silence after which a rank is lost.")
    var silence = "5s"

    func apply(to options: inout SimulationOptions) throws {
        options.jitter = try Self.time("jitter", jitter, jitter)
        options.silenceLimit = try Self.time("silence", silence, silence)
        guard options.silenceLimit >= .milliseconds(100) else {
            throw ValidationError("--silence \(silence): at least 100ms")
        }
        for text in kill {
            let (name, rest) = try split("kill", text, "@", "RANK@TIME, as 12@20us")
            try add(
                "kill", text, try Self.time("kill", rest, text), to: &options.kills,
                at: try rank("kill", name, text))
        }
        for text in cut {
            let (name, rest) = try split("cut", text, "@", "LINK@TIME, as node3.plane2.out@20us")
            try add("cut", text, try Self.time("cut", rest, text), to: &options.cuts, at: name)
        }
        for text in pause {
            let form = "RANK@TIME+TIME, as 12@20us+1ms"
            let (name, rest) = try split("pause", text, "@", form)
            let (begin, length) = try split("pause", rest, "+", form, in: text)
            let pause = SimulationOptions.Pause(
                begin: try Self.time("pause", begin, text),
                length: try Self.time("pause", length, text))
            try add(
                "pause", text, pause, to: &options.pauses, at: try rank("pause", name, text))
        }
        for text in slow {
            let (name, rest) = try split("slow", text, "=", "LINK=SHARE, as node3.plane2.out=0.1")
            let share = try number("slow", rest, text, 0.0001 ... 1)
            try add("slow", text, share, to: &options.slowLinks, at: name)
        }
        for text in straggler {
            let (name, rest) = try split("straggler", text, "=", "RANK=FACTOR, as 5=3")
            let factor = try number("straggler", rest, text, 1 ... 1000)
            try add(
                "straggler", text, factor, to: &options.stragglers,
                at: try rank("straggler", name, text))
        }
    }

    private func add<Key: Hashable, Value>(
        _ option: String, _ text: String, _ value: Value, to values: inout [Key: Value],
        at key: Key
    ) throws {
        guard values.updateValue(value, forKey: key) == nil else {
            throw ValidationError("--\(option) \(text): \(key) is named by --\(option) twice")
        }
    }

    private func split(
        _ option: String, _ text: String, _ mark: Character, _ form: String,
        in whole: String? = nil
    ) throws -> (String, String) {
        let parts = text.split(separator: mark, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else {
            throw ValidationError("--\(option) \(whole ?? text) is not \(form)")
        }
        return (String(parts[0]), String(parts[1]))
    }

    private func rank(_ option: String, _ name: String, _ text: String) throws -> Rank {
        guard let number = Int(name) else {
            throw ValidationError("--\(option) \(text): \(name) is not the number of a rank")
        }
        return Rank(rawValue: number)
    }

    private func number(
        _ option: String, _ value: String, _ text: String, _ range: ClosedRange<Double>
    ) throws -> Double {
        guard let number = Double(value), range.contains(number) else {
            throw ValidationError(
                "--\(option) \(text): \(value) is not \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A time with its unit, at most an hour.
    static func time(_ option: String, _ value: String, _ text: String) throws -> Duration {
        let unit = value.drop { $0.isNumber || $0 == "." }
        let scale = ["ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9][String(unit)]
        guard let scale, let count = Double(value.dropLast(unit.count)),
            (0 ... 3.6e12).contains(count * scale)
        else {
            throw ValidationError(
                "--\(option) \(text): a time with ns, us, ms or s is expected, at most 3600s")
        }
        return .nanoseconds(Int64(count * scale))
    }
}
