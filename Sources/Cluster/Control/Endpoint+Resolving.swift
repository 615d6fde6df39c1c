import Glibc
import NIOCore
import NIOPosix

extension Endpoint {
    /// Finds out early that a port cannot be listened on, which is to be used much later.
    ///
    /// - Parameter name: What the endpoint is called in the message.
    /// - Throws: `ClusterError.badInput` with the endpoint and the system's words.
    public func checkFree(as name: String = "http address") throws(ClusterError) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { group.shutdownGracefully { _ in } }
        do {
            try ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: address, port: port).wait().close().wait()
        } catch {
            throw .badInput("\(name) \(text) cannot be listened on: \(Self.words(for: error))")
        }
    }

    /// Whether a machine answers here that nobody listens, which no missing network does.
    ///
    /// - Parameter limit: For the answer.
    public func isRefused(within limit: Duration) -> Bool {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { group.shutdownGracefully { _ in } }
        func isRefusal(_ error: any Error) -> Bool {
            (error as? IOError)?.errnoCode == ECONNREFUSED
        }
        do {
            let bootstrap = ClientBootstrap(group: group).connectTimeout(TimeAmount(limit))
            try bootstrap.connect(host: address, port: port).wait().close().wait()
            return false
        } catch let error as NIOConnectionError {
            return error.connectionErrors.contains { isRefusal($0.error) }
        } catch {
            return isRefusal(error)
        }
    }

    /// Why other machines cannot reach a service that listens here under a name.
    ///
    /// Debian writes the machine's own name into `/etc/hosts` with 127.0.1.1.
    ///
    /// - Returns: Nil for a numeric address, a socket, and a name that other machines may reach.
    public var loopbackWarning: String? {
        guard !isPath, !isNumeric, !address.hasPrefix("localhost"),
            let found = try? SocketAddress.makeAddressResolvingHost(address, port: port),
            let number = found.ipAddress, Self.isLoopback(number)
        else { return nil }
        return "the name \(address) is \(number) on this machine (/etc/hosts), which no other"
            + " machine reaches: give an address of the network that the machines share"
    }

    /// What may be wrong with a name that refused a connection.
    var refusalHint: String {
        guard !isPath, !isNumeric else { return "" }
        let found = try? SocketAddress.makeAddressResolvingHost(address, port: port).ipAddress
        return "; the name \(address) is \(found ?? "nothing") here: a coordinator on a machine"
            + " whose /etc/hosts says 127.0.1.1 for it listens for that machine alone"
    }

    /// The numeric address that the name has on this machine; nil where it has none.
    var number: String? {
        try? SocketAddress.makeAddressResolvingHost(address, port: port).ipAddress
    }

    /// Whether the address needs no resolving.
    var isNumeric: Bool {
        (try? SocketAddress(ipAddress: String(address.prefix { $0 != "%" }), port: port)) != nil
    }

    /// Whether a numeric address is that of loopback.
    static func isLoopback(_ number: String) -> Bool {
        number.hasPrefix("127.") || number == "::1"
    }

    /// An error of a connection or a listener in the system's words.
    static func words(for error: any Error) -> String {
        switch error {
        case let error as IOError: return error.description
        case SocketAddressError.unknown(let host, _):
            return "the name \(host) cannot be resolved"
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return words(for: first.error) }
            let causes = [error.dnsAError, error.dnsAAAAError].compactMap { $0 }
            return causes.first.map { words(for: $0) }
                ?? "the name \(error.host) cannot be resolved"
        default: return "\(error)"
        }
    }
}
