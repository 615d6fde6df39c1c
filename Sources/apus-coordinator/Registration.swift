import Cluster
import Foundation
import Logging

/// Tells `apus launch` and `apus status` where this coordinator listens.
///
/// A launcher names the job's folder. A coordinator that was started by hand makes one for as long
/// as it runs, or is given that of one that was lost.
struct Registration {
    /// The job's folder, where there is one.
    let folder: JobFolder?
    private let isOwn: Bool
    private let control: Endpoint
    /// Where the coordinator listened whose job this one takes over; nil for a job that did not
    /// serve yet.
    let former: JobFolder.Endpoints?

    /// - Parameter folder: The job's folder, if there is one.
    init(_ folder: String?, _ job: JobConfiguration, token: ControlToken, log: Logger) {
        control = job.control
        isOwn = folder == nil
        if let folder {
            let given = JobFolder(URL(filePath: folder))
            self.folder = given
            let former = try? given.endpoints()
            self.former = former?.http == nil ? nil : former
            do { try given.takeOver(job, token: token) } catch {
                log.warning("apus status may not see this job: \(error)")
            }
            return
        }
        former = nil
        do throws(ClusterError) {
            self.folder = try JobFolder.adopt(job, token: token)
        } catch {
            self.folder = nil
            log.warning("apus status will not see this job: \(error)")
        }
    }

    /// The job with the ports that its former coordinator had taken, where it says any: ranks and
    /// clients know them.
    func resumed(_ job: JobConfiguration) -> JobConfiguration {
        var job = job
        guard let former, job.coordinatorLimit > .zero else { return job }
        if job.control.port == 0, !job.control.isPath { job.control.port = former.control.port }
        if job.http.port == 0, let http = former.http { job.http.port = http.port }
        return job
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
