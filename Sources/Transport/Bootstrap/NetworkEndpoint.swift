import CFabric
import Glibc

/// A host and port, resolved: `10.0.0.1:29500`, `[::1]:29500`, `node1:29500`.
///
/// Safe because the address is a value.
struct NetworkEndpoint: Sendable {
    let text: String
    private let storage: [UInt8]

    var family: Int32 { Int32(storage[0]) | Int32(storage[1]) << 8 }

    init(_ text: String) throws(TransportError) {
        guard let colon = text.lastIndex(of: ":") else {
            throw .unavailable("address \(text) has no port (host:port)")
        }
        var host = String(text[..<colon])
        let port = String(text[text.index(after: colon)...])
        guard UInt16(port) != nil else {
            throw .unavailable("port \(port) of address \(text) is not in 0...65535")
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(host, port, &hints, &found)
        guard status == 0, let first = unsafe found else {
            let cause = unsafe String(cString: gai_strerror(status))
            throw .unavailable(
                "the host of \(text) cannot be resolved (\(cause)): give an address, or a name "
                    + "that every node knows (under a launcher APUS_RENDEZVOUS=host:port)")
        }
        defer { unsafe freeaddrinfo(found) }
        let length = Int(unsafe first.pointee.ai_addrlen)
        storage = unsafe Array(UnsafeRawBufferPointer(start: first.pointee.ai_addr, count: length))
        self.text = text
    }

    func withAddress<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        unsafe storage.withUnsafeBytes { bytes in
            let address = unsafe bytes.assumingMemoryBound(to: sockaddr.self)
            return unsafe body(address.baseAddress!, socklen_t(bytes.count))
        }
    }

    /// The text with another port, once the kernel has chosen it.
    func text(port: UInt16) -> String {
        let colon = text.lastIndex(of: ":") ?? text.endIndex
        return "\(text[..<colon]):\(port)"
    }
}

extension NetworkEndpoint: CustomStringConvertible {
    var description: String { text }
}
