import CFabric
import Glibc

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
            // An address may have a label of its own, eth0:1, which is no device.
            let label = unsafe String(cString: entry.pointee.ifa_name)
            found.append(
                NetworkAddress(device: String(label.prefix { $0 != ":" }), address: host))
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
