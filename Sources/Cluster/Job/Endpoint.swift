/// An interface and a port on it, or the path of a socket.
public struct Endpoint: Codable, Hashable, Sendable {
    /// A numeric address of this machine, or a path that begins with a slash.
    public var address: String
    /// 0 to 65535; 0 takes any free one.
    public var port: Int

    /// An interface and a port on it.
    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// Reads `address:port`, or the path of a socket.
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
        let parts = text.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1]), (0 ... 65535).contains(port) else {
            throw .badInput("\(text) is not address:port, and no path of a socket")
        }
        self.init(address: String(parts[0]), port: port)
    }

    /// As `init` reads it.
    public var text: String { isPath ? address : "\(address):\(port)" }

    /// Whether it is the path of a socket, which reaches every network namespace of this machine.
    package var isPath: Bool { Self.isPath(address) }

    private static func isPath(_ address: String) -> Bool { address.hasPrefix("/") }

    /// Whether a socket can have this path.
    static func fits(_ path: String) -> Bool { path.utf8.count <= longestPath }

    /// Bytes of a socket's path: what `sockaddr_un` holds besides the zero at its end.
    private static let longestPath = 107
}
