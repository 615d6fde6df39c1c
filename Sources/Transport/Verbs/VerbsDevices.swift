import CFabric
import Glibc

/// One port of an RDMA device.
public struct VerbsPort: Codable, Hashable, Sendable {
    /// The device, as `mlx5_0` or `rxe0`.
    public let device: String
    /// Counted from 1.
    public let port: Int
    /// Whether it can carry bytes now.
    public let isActive: Bool
    /// Ethernet (RoCE) or InfiniBand.
    public let isEthernet: Bool
    /// Lanes times their signalling rate.
    public let gigabitsPerSecond: Double
    /// The port's first GID, in hexadecimal.
    public let gid: String
}

/// The RDMA devices of this node.
public enum VerbsDevices {
    /// Every port of every device; empty where there is none, which is no error.
    public static func ports() -> [VerbsPort] {
        var count: Int32 = 0
        guard let list = unsafe ibv_get_device_list(&count) else { return [] }
        defer { unsafe ibv_free_device_list(list) }
        var ports: [VerbsPort] = []
        for index in 0 ..< Int(count) {
            guard let device = unsafe list[index], let context = unsafe ibv_open_device(device)
            else { continue }
            defer { unsafe ibv_close_device(context) }
            let name = unsafe String(cString: ibv_get_device_name(device))
            var number: UInt8 = 1
            var port = fabric_port()
            while unsafe fabric_query_port(context, number, &port) == 0 {
                let gid = unsafe withUnsafeBytes(of: &port.gid) { unsafe Array($0) }
                ports.append(
                    VerbsPort(
                        device: name, port: Int(number), isActive: port.is_active,
                        isEthernet: port.is_ethernet, gigabitsPerSecond: port.gigabits,
                        gid: gid.map { hexadecimal($0) }.joined()))
                number += 1
            }
        }
        return ports
    }

    private static func hexadecimal(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return digits.count == 1 ? "0" + digits : digits
    }
}
