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
            ScheduleCommand.self,
            ServeCommand.self,
            SimulateCommand.self,
            StatusCommand.self,
            StopCommand.self,
            TopologyCommand.self,
            TrainCommand.self,
        ])

    /// Parses, runs, and exits: 2 for a command that makes no sense, as for any other bad input.
    static func main() async {
        do {
            var command = try parseAsRoot()
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
