/// How bytes reach a rank, for headers and reports.
public enum Path: Hashable, Sendable {
    /// The rank itself.
    case own
    /// Another thread of this process.
    case loopback
    /// Stores into a mapping that both processes have.
    case sharedMemory
    /// TCP by the kernel's sockets, through these devices.
    case tcp(String)
    /// UCX, with the transports and devices that it chose.
    case ucx(String)
    /// RDMA write with immediate through a device's port.
    case verbs(device: String, port: Int)
    /// A simulated network, on these planes.
    case simulated(String)

    /// Whether a store of this rank's own lands in that rank's window.
    public var isStore: Bool {
        switch self {
        case .own, .loopback, .sharedMemory: true
        case .tcp, .ucx, .verbs, .simulated: false
        }
    }
}

extension Path: CustomStringConvertible {
    /// A short word for tables.
    public var description: String {
        switch self {
        case .own: "self"
        case .loopback: "loopback"
        case .sharedMemory: "shm"
        case .tcp(let devices): "tcp:\(devices)"
        case .ucx(let transports): "ucx:\(transports)"
        case .verbs(let device, let port): "verbs:\(device):\(port)"
        case .simulated(let planes): "simulated:\(planes)"
        }
    }
}
