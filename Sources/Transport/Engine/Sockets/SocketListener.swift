import Glibc

/// Where one plane of a rank can be reached during the join.
final class SocketListener {
    /// `host:port` of each address.
    let addresses: [String]
    let sockets: [StreamSocket]
    /// nil where the user named none: connections leave as the kernel routes them.
    let device: String?
    /// The address that connections of a named device leave by.
    private let host: String?

    /// Listens on the addresses of a device, or on all of this node.
    init(device: String?) throws(TransportError) {
        let all = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        let usable = all.filter { address in
            // Addresses of one link only say nothing without the name of that link.
            (device == nil || address.device == device) && !address.address.hasPrefix("fe80")
        }
        guard !usable.isEmpty else {
            throw .unavailable(
                "\(device.map { "device \($0)" } ?? "this node") has no IP address "
                    + "(ip address add; --device names another)")
        }
        var sockets: [StreamSocket] = []
        var addresses: [String] = []
        for address in usable.prefix(SocketAddresses.candidateLimit) {
            let host = Self.written(address.address)
            let socket = try StreamSocket.listen(on: try NetworkEndpoint("\(host):0"))
            addresses.append("\(host):\(try socket.localPort())")
            sockets.append(socket)
        }
        self.addresses = addresses
        self.sockets = sockets
        self.device = device
        host = device == nil ? nil : usable.first?.address
    }

    private static func written(_ host: String) -> String {
        host.contains(":") ? "[\(host)]" : host
    }

    /// A socket that begins to connect, from this plane.
    func connect(to endpoint: NetworkEndpoint) throws(TransportError) -> StreamSocket {
        let socket = try StreamSocket(endpoint)
        if let host {
            try socket.leave(by: try NetworkEndpoint("\(Self.written(host)):0"))
        }
        try socket.beginConnecting(to: endpoint)
        return socket
    }
}
