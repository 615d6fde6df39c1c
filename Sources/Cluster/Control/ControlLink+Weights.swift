import Foundation
import Topology

/// What an observer asks about the model's files.
extension ControlLink {
    /// Asks the coordinator of a job who gives the model's files to hosts that have none.
    ///
    /// - Parameter limit: For the coordinator to answer; it may not be there yet.
    /// - Returns: The addresses of each source, the likeliest first.
    /// - Throws: `refused`, `ended`, or `deadline` after `limit`.
    public static func weightSources(
        of endpoint: Endpoint, token: ControlToken, pid: Int32, limit: Duration
    ) throws(ClusterError) -> [[Endpoint]] {
        let link = try join(
            Configuration(
                endpoint, token: token,
                hello: Hello(rank: nil, identity: nil, pid: pid, node: ProcessIdentity.node),
                joinLimit: limit, silenceLimit: limit))
        defer { link.close() }
        link.write(.askWeights)
        let sources = try link.wait(limit, "who gives the model's files") { link.lastSources }
        return sources.prefix(mostSources).map { source in
            source.prefix(mostAddresses).map {
                $0.address.isEmpty ? Endpoint(address: endpoint.address, port: $0.port) : $0
            }
        }
    }

    /// Sources beyond these add nothing to a network's rate.
    private static let mostSources = 16
    /// Addresses that are tried of a source.
    private static let mostAddresses = 8
}
