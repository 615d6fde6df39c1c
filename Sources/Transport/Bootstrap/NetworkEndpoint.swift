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
        let all = try Self.resolve(text)
        guard let first = all.first else { preconditionFailure("no address of \(text)") }
        self = first
    }

    private init(_ text: String, _ storage: [UInt8]) {
        self.text = text
        self.storage = storage
    }

    /// Every address that a text stands for: a name may have several, of which one answers.
    static func resolve(_ text: String) throws(TransportError) -> [NetworkEndpoint] {
        guard let colon = text.lastIndex(of: ":") else {
            throw .unavailable("address \(text) has no port (host:port)")
        }
        var host = String(text[..<colon])
        let port = String(text[text.index(after: colon)...])
        guard UInt16(port) != nil else {
            throw .unavailable("port \(port) of address \(text) is not in 0...65535")
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw .unavailable(
                "address \(text): an IPv6 address stands in brackets, as [::1]:29500")
        }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = unsafe getaddrinfo(host, port, &hints, &found)
        guard status == 0, unsafe found != nil else {
            let cause = unsafe String(cString: gai_strerror(status))
            throw .unavailable(
                "the host of \(text) cannot be resolved (\(cause)): give an address, or a name "
                    + "that every node knows (under a launcher APUS_RENDEZVOUS=host:port)")
        }
        defer { unsafe freeaddrinfo(found) }
        var all: [NetworkEndpoint] = []
        var next = unsafe found
        while let entry = unsafe next {
            let bytes = unsafe UnsafeRawBufferPointer(
                start: entry.pointee.ai_addr, count: Int(entry.pointee.ai_addrlen))
            all.append(NetworkEndpoint(text, unsafe Array(bytes)))
            unsafe next = entry.pointee.ai_next
        }
        return all
    }

    /// The number of the host.
    var number: String {
        unsafe withAddress { address, _ in unsafe numericHost(address) } ?? ""
    }

    /// Why other nodes cannot reach what listens here, if a name is the reason: Debian writes a
    /// machine's own name into `/etc/hosts` with 127.0.1.1.
    var loopbackHint: String? {
        guard !text.hasPrefix(number), !text.hasPrefix("[\(number)"), !text.hasPrefix("localhost"),
            number.hasPrefix("127.") || number == "::1"
        else { return nil }
        return "\(text) is \(number) on this node (/etc/hosts), which no other node reaches:"
            + " APUS_RENDEZVOUS=ADDRESS:PORT names an address of the network"
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
