import ArgumentParser

/// Measurements: each prints what it was measured against in the same run.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures links, collectives and models against the limits of this machine.",
        subcommands: [
            AllToAllCommand.self,
            BenchModelCommand.self,
            BenchServe.self,
            CacheCommand.self,
            DeterminismCommand.self,
            KernelsCommand.self,
            LinkCommand.self,
            OverlapCommand.self,
            RolesCommand.self,
            ShareCommand.self,
            SpeculationCommand.self,
        ])
}
