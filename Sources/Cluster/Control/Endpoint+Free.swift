import NIOCore
import NIOPosix

extension Endpoint {
    /// Finds out early that a port cannot be listened on, which is to be used much later.
    ///
    /// - Throws: `ClusterError.badInput` with the endpoint and the system's words.
    public func checkFree() throws(ClusterError) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { group.shutdownGracefully { _ in } }
        do {
            try ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: address, port: port).wait().close().wait()
        } catch {
            throw .badInput("http address \(address):\(port) cannot be listened on: \(error)")
        }
    }
}
