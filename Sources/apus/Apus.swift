import ArgumentParser
import Cluster
import Foundation
import Tensors
import Topology

/// The user's tool. Each subcommand is a file in `Commands`.
@main
struct Apus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "Launches, serves, trains and measures mixture-of-experts models on a cluster.",
        version: "apus \(ApusVersion.current)",
        subcommands: [
            BenchCommand.self,
            ChaosCommand.self,
            ConvertCommand.self,
            DoctorCommand.self,
            DrainCommand.self,
            EvaluateCommand.self,
            GenerateCommand.self,
            HostCommand.self,
            InspectCommand.self,
            JobsCommand.self,
            LabCommand.self,
            LaunchCommand.self,
            LogsCommand.self,
            MakeModelCommand.self,
            PlacementCommand.self,
            PlanCommand.self,
            PlotCommand.self,
            RenderCommand.self,
            ScaleCommand.self,
            ScheduleCommand.self,
            ServeCommand.self,
            SimulateCommand.self,
            StatusCommand.self,
            StopCommand.self,
            TopCommand.self,
            TopologyCommand.self,
            TraceCommand.self,
            TrainCommand.self,
        ])

    /// Writes `--seed -1` as `--seed=-1`. The parser takes a word that begins with a dash for an
    /// option, and would say that the value is missing, not that it is below its limit.
    private static func joiningNumbers(_ words: [String]) -> [String] {
        let own = words.prefix { $0 != "--" }
        var joined: [String] = []
        for word in own {
            if let name = joined.last, name.hasPrefix("--"), !name.contains("="),
                word.hasPrefix("-"), Double(word) != nil
            {
                joined[joined.count - 1] = "\(name)=\(word)"
            } else {
                joined.append(word)
            }
        }
        return joined + words[own.endIndex...]
    }

    /// Parses, runs, and exits: 2 for a command that makes no sense, as for any other bad input.
    static func main() async {
        do {
            var command = try parseAsRoot(
                Self.joiningNumbers(Array(CommandLine.arguments.dropFirst())))
            _ = try reporting { try Processor.check(ProcessInfo.processInfo.environment) }
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            try reporting { try StandardStream.flush() }
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            StandardStream.error.say(fullMessage(for: error) + "\n")
            Foundation.exit(ExitStatus.badInput.code)
        }
    }
}
