import NIOCore
import NIOHTTP1
import NIOPosix
import Serving

/// One connection to an HTTP server, used for one request: what a benchmark needs and no more.
struct HTTPConnection {
    /// Where a server listens.
    struct Address: Hashable, Sendable {
        var host: String
        var port: Int
    }

    /// A piece of an answer.
    enum Part: Sendable {
        case status(Int)
        case body(ByteBuffer)
    }

    /// A server that says nothing for this long is given up: requests may queue for minutes.
    static let silenceLimit = TimeAmount.minutes(10)

    /// Sends one request and hands over the answer as it arrives.
    ///
    /// - Throws: `ServingError.unavailable` after `silence` without a byte from the server.
    static func send(
        _ method: HTTPMethod, _ path: String, body: String?, headers: [(String, String)] = [],
        to address: Address, on group: any EventLoopGroup,
        silence: TimeAmount = HTTPConnection.silenceLimit,
        _ receive: (Part) throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: group)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .connectTimeout(.seconds(10))
            .connect(host: address.host, port: address.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(IdleStateHandler(readTimeout: silence))
                    try pipeline.addHandler(SilenceHandler(limit: silence))
                    try pipeline.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel)
                }
            }
        var hasEnded = false
        do {
            try await exchange(
                channel, method, path, body, headers, address, hasEnded: &hasEnded, receive)
        } catch is ChannelError where hasEnded {
            // The server closed first, as it was asked to: the answer is whole.
        }
    }

    private static func exchange(
        _ channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>,
        _ method: HTTPMethod, _ path: String, _ body: String?, _ headers: [(String, String)],
        _ address: Address, hasEnded: inout Bool, _ receive: (Part) throws -> Void
    ) async throws {
        try await channel.executeThenClose { inbound, outbound in
            var head = HTTPRequestHead(version: .http1_1, method: method, uri: path)
            // RFC 3986: brackets around an IPv6 address.
            let host = address.host.contains(":") ? "[\(address.host)]" : address.host
            head.headers.add(name: "host", value: "\(host):\(address.port)")
            head.headers.add(name: "connection", value: "close")
            for (name, value) in headers { head.headers.add(name: name, value: value) }
            let bytes = body.map { ByteBuffer(string: $0) }
            if let bytes {
                if !head.headers.contains(name: "content-type") {
                    head.headers.add(name: "content-type", value: "application/json")
                }
                head.headers.add(name: "content-length", value: "\(bytes.readableBytes)")
            }
            var parts = [HTTPClientRequestPart.head(head)]
            if let bytes { parts.append(.body(.byteBuffer(bytes))) }
            parts.append(.end(nil))
            do {
                try await outbound.write(contentsOf: parts)
            } catch is ChannelError {
                // A server may answer and close before it has read all: its answer is there.
            }
            for try await part in inbound {
                switch part {
                case .head(let head): try receive(.status(Int(head.status.code)))
                case .body(let bytes): try receive(.body(bytes))
                case .end:
                    hasEnded = true
                    return
                }
            }
        }
    }
}

/// Ends a connection on which nothing arrives any more.
private final class SilenceHandler: ChannelInboundHandler {
    typealias InboundIn = NIOAny

    private let limit: TimeAmount

    init(limit: TimeAmount) { self.limit = limit }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is IdleStateHandler.IdleStateEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        let seconds = Double(limit.nanoseconds) / 1e9
        context.fireErrorCaught(
            ServingError.unavailable(message: "the server sent nothing for \(seconds) s"))
        context.close(promise: nil)
    }
}

/// Cuts a stream of server-sent events into their data.
struct EventStreamReader {
    private var held: [UInt8] = []

    /// The data of the events that are complete now.
    mutating func append(_ bytes: ByteBuffer) -> [String] {
        held += bytes.readableBytesView
        var events: [String] = []
        while let end = held.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: held[..<end], as: UTF8.self)
            held.removeFirst(end + 1)
            if line.hasPrefix("data: ") { events.append(String(line.dropFirst(6))) }
        }
        return events
    }
}
