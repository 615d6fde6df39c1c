public import Collectives
import Tensors
public import Topology

/// Which ranks hold the routed experts that a rank trains with.
public enum ExpertSharing {
    /// Every expert is on this rank.
    case local
    /// Experts are shared by the ranks of a group, each where the map says. Forwards and backwards
    /// have windows of their own: in an overlapped pair both are under way, each in its own order.
    case group(forward: ExpertParallelGroup, backward: ExpertParallelGroup, ExpertMap)

    /// The logical experts of this rank in a layer, in its local order.
    ///
    /// - Parameter count: Experts of the layer.
    func experts(layer: Int, of count: Int) -> [ExpertID] {
        switch self {
        case .local: (0 ..< count).map { ExpertID(rawValue: $0) }
        case .group(let group, _, let map): SharedExperts(group, map).experts(layer: layer)
        }
    }

    /// Prepares one micro-batch's way through one layer.
    func exchange(
        _ routing: Routing, layer: Int, expertCount: Int, pool: ThreadPool
    ) throws -> any TrainedExchange {
        switch self {
        case .local:
            TrainedLocalExchange(routing, expertCount: expertCount, pool: pool)
        case .group(let forward, let backward, let map):
            try GroupExchange(
                layout: forward.layout(for: routing, in: map, layer: layer), forward: forward,
                backward: backward)
        }
    }
}
