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
    let isEthernet: Bool
    /// Lanes times their signalling rate.
    public let gigabitsPerSecond: Double
    /// Bytes of the largest packet's payload.
    public let maximumPacketBytes: Int
    /// The port's addresses, as IPv6 is written.
    public let gids: [String]
}

extension VerbsPort: CustomStringConvertible {
    /// One line of a list.
    public var description: String {
        "\(device) port \(port): \(isActive ? "active" : "down"), "
            + "\(isEthernet ? "Ethernet (RoCE)" : "InfiniBand"), \(gigabitsPerSecond) Gbit/s, "
            + "packets of \(maximumPacketBytes) bytes, GIDs \(gids.joined(separator: " "))"
    }
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
                let gids = unsafe gids(context, number, count: Int(port.gid_count))
                ports.append(
                    VerbsPort(
                        device: name, port: Int(number), isActive: port.is_active,
                        isEthernet: port.is_ethernet, gigabitsPerSecond: port.gigabits,
                        maximumPacketBytes: Int(port.mtu), gids: gids))
                number += 1
            }
        }
        return ports
    }

    /// Whether a rank that did not ask for verbs may be given them: a device with an active port
    /// has an address that connections can be made to, and memory may be locked without limit.
    static func areReady() -> Bool {
        guard let domain = try? VerbsDomain(wanted: nil, completionCount: 1),
            ports().contains(where: {
                $0.device == domain.device && $0.port == domain.port && $0.isActive
            })
        else { return false }
        let limit = fabric_memlock_limit()
        if limit == UInt64.max { return true }
        // A process that may exceed the limit has none, which only a trial shows.
        guard limit <= 64 << 20 else { return false }
        let byteCount = Int(limit) + 1 << 12
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 1 << 12)
        defer { unsafe memory.deallocate() }
        let trial = unsafe try? VerbsRegistration(
            domain, memory, byteCount: byteCount, name: "a trial")
        return trial != nil
    }

    /// Those in use: a table has room for many, filled from its beginning and with holes.
    private static func gids(
        _ context: UnsafeMutablePointer<ibv_context>, _ port: UInt8, count: Int
    ) -> [String] {
        var found: [String] = []
        for index in 0 ..< min(count, 32) {
            var gid = [UInt8](repeating: 0, count: 16)
            guard unsafe fabric_query_gid(context, port, Int32(index), &gid) == 0,
                gid.contains(where: { $0 != 0 })
            else { continue }
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            guard unsafe inet_ntop(AF_INET6, gid, &text, socklen_t(text.count)) != nil else {
                continue
            }
            let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            found.append(String(decoding: bytes, as: UTF8.self))
        }
        return found
    }
}
