import Cluster
import Models
import Tensors
import Topology

extension JobDemand {
    /// What each rank of a job that serves holds, as `apus inspect` computes it.
    ///
    /// Nil of a job that trains, and where the model's folder cannot be read: other rules say so.
    ///
    /// - Throws: `ClusterError.badInput` for a group whose ranks or copies do not fit the model.
    init?(of job: JobConfiguration) throws {
        guard let serving = job.serving,
            let shape = try? ModelConfiguration.load(directory: serving.model),
            let summary = try? ModelSummary(directory: serving.model, configuration: shape)
        else { return nil }
        var experts: [Int] = []
        for group in job.groups.groups {
            do {
                let map = try shape.expertMap(
                    rankCount: group.rankCount, redundantExperts: serving.redundantExperts)
                experts += map.placements[0].expertsByRank.map(\.count)
            } catch {
                throw ClusterError.badInput("group \(group.name): \(error)")
            }
        }
        let format = serving.cacheFormat.flatMap { EntryFormat(name: $0.rawValue) }
        self.init(
            experts: experts, weightBytes: experts.map { summary.rankBytes(expertCount: $0) },
            cacheBytesPerToken: BlockCache.bytesPerToken(
                of: shape, format: format ?? .bfloat16))
    }
}
