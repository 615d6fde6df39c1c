import Checkpoints
import Cluster
import Logging

/// Gives the model's files to hosts that have none, for a job whose `weightFolder` allows it.
struct SharedModel {
    private let server: WeightServer

    /// Where it listens, at the control plane's address.
    var port: Int { server.port }

    /// Nil where this process has nothing to give: the job does not allow it, its ranks reach the
    /// coordinator by a file alone, or the folder is no whole checkpoint.
    init?(_ job: JobConfiguration, token: ControlToken, log: Logger) throws {
        guard let serving = job.serving, !serving.weightFolder.isEmpty, !job.control.isPath else {
            return nil
        }
        let folder: SharedFolder
        do {
            folder = try SharedFolder(directory: serving.model)
        } catch {
            log.warning("the model's files are not given to other hosts: \(error)")
            return nil
        }
        server = try WeightServer(
            WeightManifest(folder.files.map { ($0.name, $0.byteCount) }, content: folder.content),
            on: job.control.address, token: token, log: log
        ) { try folder.read($0, $1) }
    }

    /// Ends every connection.
    func close() { server.close() }
}
