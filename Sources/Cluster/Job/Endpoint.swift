/// An interface and a port on it, or the path of a socket.
public struct Endpoint: Codable, Hashable, Sendable {
    /// A numeric address or a host name, without brackets; or a path that begins with a slash.
    public var address: String
    /// 0 to 65535; 0 takes any free one.
    public var port: Int
    /// Whether what listens there speaks TLS; nil where it does not.
    public var isSecure: Bool?

    /// An interface and a port on it.
    ///
    /// - Parameter address: An IPv6 address may stand in brackets, as it does before a port.
    public init(address: String, port: Int) {
        self.address =
            address.hasPrefix("[") && address.hasSuffix("]")
            ? String(address.dropFirst().dropLast()) : address
        self.port = port
    }

    /// Reads `address:port`, `[address]:port`, or the path of a socket.
    ///
    /// - Throws: `ClusterError.badInput` with the text.
    public init(_ text: String) throws(ClusterError) {
        if Self.isPath(text) {
            guard Self.fits(text) else {
                throw .badInput(
                    "\(text) has \(text.utf8.count) bytes: the path of a socket has at most"
                        + " \(Self.longestPath) (sockaddr_un)")
            }
            self.init(address: text, port: 0)
            return
        }
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (0 ... 65535).contains(port),
            colon > text.startIndex
        else { throw .badInput("\(text) is not address:port, and no path of a socket") }
        let host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.count > 2
        guard isBracketed || !host.contains(where: { ":[]".contains($0) }) else {
            throw .badInput(
                "\(text) is not address:port: an IPv6 address stands in brackets, as [::1]:7000")
        }
        self.init(address: String(host), port: port)
    }

    /// As `init` reads it.
    public var text: String { isPath ? address : "\(host):\(port)" }

    /// Where a client finds the service that listens there.
    ///
    /// A scope of an IPv6 address is written as RFC 6874 says.
    public func url(_ path: String = "") -> String {
        "http\(isSecure == true ? "s" : "")://\(host.replacing("%", with: "%25")):\(port)\(path)"
    }

    /// The address as it stands before a port.
    private var host: String { address.contains(":") ? "[\(address)]" : address }

    /// Whether it is the path of a socket, which reaches every network namespace of this machine.
    package var isPath: Bool { Self.isPath(address) }

    private static func isPath(_ address: String) -> Bool { address.hasPrefix("/") }

    /// Whether a socket can have this path.
    static func fits(_ path: String) -> Bool { path.utf8.count <= longestPath }

    /// Bytes of a socket's path: what `sockaddr_un` holds besides the zero at its end.
    private static let longestPath = 107
}
