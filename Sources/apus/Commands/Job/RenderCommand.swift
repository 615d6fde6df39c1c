public import ArgumentParser
public import Cluster
import Foundation

/// Writes what Slurm, Kubernetes, systemd or a person with ssh needs to start a job.
struct RenderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render",
        abstract: "Prints what Slurm, Kubernetes, systemd or ssh is given to run a job.",
        discussion: """
            The text is yours to read, change and submit. Nothing is started and nobody is asked.

              apus render slurm cluster/slurm.yaml > job.sbatch && sbatch job.sbatch
              apus render kubernetes cluster/local.yaml --image registry.example/apus:0.2
              apus render systemd cluster/local.yaml
              apus render ssh job.yaml
            """)

    @Argument(help: "slurm, kubernetes, systemd or ssh.") var target: Rendering.Target
    @Argument(help: "The job file; its path is written as given.") var job: String
    @Option(help: "Kubernetes: the container image with the programs.") var image: String?
    @Option(help: "The folder of the programs where the ranks run; default the search path.")
    var programs: String?

    func run() throws {
        try reporting {
            var options = Rendering.Options()
            if let image { options.image = image }
            if let programs { options.programs = programs }
            let rendering = Rendering(
                of: try JobConfiguration(contentsOf: job), file: job, options: options)
            print(try rendering.text(for: target), terminator: "")
        }
    }
}

extension Rendering.Target: ExpressibleByArgument {}
