import ArgumentParser

/// Runs one rank.
@main
struct Worker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "apus-worker")
}
