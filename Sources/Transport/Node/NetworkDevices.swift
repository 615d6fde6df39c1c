import CFabric
import Glibc

/// The network interfaces of this node.
enum NetworkDevices {
    /// Throws for the first of a comma-separated list that is not here.
    static func check(_ list: String) throws(TransportError) {
        let here = names()
        for name in list.split(separator: ",") where !here.contains(String(name)) {
            throw .unavailable(
                "no network device \(name): this node has \(here.joined(separator: ", "))")
        }
    }

    /// The devices that the user, or the lab in `APUS_DEVICES`, names: a plane each. None leaves
    /// the choice to the core.
    static func chosen(_ configuration: FabricConfiguration) throws(TransportError) -> [String] {
        let named = unsafe getenv("APUS_DEVICES").map { unsafe String(cString: $0) }
        guard let list = configuration.device ?? named else { return [] }
        try check(list)
        return list.split(separator: ",").map(String.init)
    }

    static func names() -> [String] {
        guard let list = unsafe if_nameindex() else { return [] }
        defer { unsafe if_freenameindex(list) }
        var names: [String] = []
        var entry = unsafe list
        while let name = unsafe entry.pointee.if_name {
            names.append(unsafe String(cString: name))
            unsafe entry += 1
        }
        return names
    }
}

/// An address of this node.
public struct NetworkAddress: Hashable, Sendable {
    /// The interface that has it.
    public let device: String
    /// In dotted form, or in hexadecimal fields.
    public let address: String

    /// All IPv4 addresses, in the kernel's order.
    public static func all() -> [NetworkAddress] { all(family: AF_INET) }

    static func all(family: Int32) -> [NetworkAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer { unsafe freeifaddrs(list) }
        var found: [NetworkAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ifa_next
            guard let address = unsafe entry.pointee.ifa_addr,
                unsafe address.pointee.sa_family == sa_family_t(family),
                let host = unsafe numericHost(address)
            else { continue }
            found.append(
                NetworkAddress(
                    device: unsafe String(cString: entry.pointee.ifa_name), address: host))
        }
        return found
    }
}

/// The host of an address without its port, in digits.
func numericHost(_ address: UnsafePointer<sockaddr>) -> String? {
    let isShort = unsafe address.pointee.sa_family == sa_family_t(AF_INET)
    let length = isShort ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let status = unsafe getnameinfo(
        address, socklen_t(length), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
    guard status == 0 else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The UCX that this program runs with.
public enum UCXLibrary {
    /// As the library says it: `1.13.1`.
    public static var version: String {
        unsafe ucp_get_version_string().map { unsafe String(cString: $0) } ?? "unknown"
    }
}
