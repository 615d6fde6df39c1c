/// Which way bytes may take between ranks.
public enum TransportKind: String, Codable, CaseIterable, Sendable {
    /// Shared memory inside a node; between nodes verbs where all ranks have RDMA, else TCP.
    case auto
    /// Shared memory only; all ranks must be on one node.
    case shm
    /// TCP by the kernel's sockets between all ranks, also inside a node.
    case tcp
    /// UCX between all ranks, also inside a node: over TCP, or over what `UCX_TLS` names.
    case ucx
    /// Verbs between all ranks, also inside a node.
    case rdma
    /// Ranks are threads of one process.
    case loopback

    /// Those that join processes, as the ranks of a job are.
    public static let betweenProcesses = allCases.filter { $0 != .loopback }
}
