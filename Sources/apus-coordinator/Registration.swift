import Cluster
import Foundation
import Logging

/// Tells `apus launch` and `apus status` where this coordinator listens.
///
/// A launcher names the job's folder. A coordinator that was started by hand makes one for as long
/// as it runs.
struct Registration {
    private let folder: JobFolder?
    private let isOwn: Bool
    private let control: Endpoint

    /// - Parameter folder: The job's folder, if a launcher made one.
    init(_ folder: String?, _ job: JobConfiguration, token: ControlToken, log: Logger) {
        control = job.control
        isOwn = folder == nil
        if let folder {
            self.folder = JobFolder(URL(filePath: folder))
            return
        }
        do throws(ClusterError) {
            self.folder = try JobFolder.adopt(job, token: token)
        } catch {
            self.folder = nil
            log.warning("apus status will not see this job: \(error)")
        }
    }

    /// States the ports that were taken.
    func announce(controlPort: Int, http: Endpoint?) throws {
        try folder?.write(
            JobFolder.Endpoints(
                control: Endpoint(address: control.address, port: controlPort), http: http))
    }

    /// Leaves nothing behind of a folder that was made here.
    func end() {
        if isOwn { folder?.remove() }
    }
}
