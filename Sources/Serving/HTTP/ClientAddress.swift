import NIOCore

/// Whom a connection counts for: an IPv4 address, or the network of an IPv6 address.
enum ClientAddress {
    /// The name of the address.
    ///
    /// IPv6 hosts choose the last 64 bits themselves, so the first 64 count. Sockets without a
    /// name share one.
    static func name(of address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "local" }
        return name(of: text)
    }

    static func name(of text: String) -> String {
        guard text.contains(":") else { return text }
        if let mapped = text.split(separator: ":").last, mapped.contains(".") {
            return String(mapped)
        }
        let halves = text.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false)
        var groups = halves[0].split(separator: ":").map(String.init)
        if halves.count == 2 {
            let rest = halves[1].split(separator: ":").map(String.init)
            groups += Array(repeating: "0", count: max(0, 8 - groups.count - rest.count)) + rest
        }
        return groups.prefix(4).joined(separator: ":") + "::/64"
    }
}
