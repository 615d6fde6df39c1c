import ArgumentParser

/// Runs the control plane and the HTTP front door.
@main
struct Coordinator: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "apus-coordinator")
}
