import ArgumentParser

/// The user's tool. Each subcommand is a file in `Commands`.
@main
struct Apus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "Launches, serves, trains and measures mixture-of-experts models on a cluster.",
        subcommands: [
            BenchCommand.self,
            ConvertCommand.self,
            EvaluateCommand.self,
            GenerateCommand.self,
            InspectCommand.self,
            LabCommand.self,
            LaunchCommand.self,
            MakeModelCommand.self,
            ScheduleCommand.self,
            ServeCommand.self,
            StatusCommand.self,
            TrainCommand.self,
        ])
}
