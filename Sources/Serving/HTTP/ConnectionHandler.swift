import Encoding
import NIOCore
import NIOHTTP1

/// Stands between one connection and the HTTP library: admits the connection or refuses it, keeps
/// the rules of HTTP/1.0, and tells the table and the access log what happens.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// What the answer to a request must keep to.
    private struct Expectation {
        var version: HTTPVersion
        var isKeptAlive: Bool
        var record: RequestRecord
    }

    private let table: ConnectionTable
    private let accessLog: AccessLog?
    private var address = "local"
    /// Requests that have no whole answer yet, oldest first: clients may send ahead.
    private var expectations: [Expectation] = []
    private var isRefused = false

    /// A client's request that ended with its connection: what other servers call it.
    private static let clientClosed = 499

    init(_ table: ConnectionTable, accessLog: AccessLog?) {
        self.table = table
        self.accessLog = accessLog
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { opened(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        opened(context)
        context.fireChannelActive()
    }

    private func opened(_ context: ChannelHandlerContext) {
        address = ClientAddress.name(of: context.remoteAddress)
        guard let reason = table.opened(context.channel, from: address) else { return }
        isRefused = true
        let error = APIError(
            status: 503, message: reason, type: "server_error", code: "overloaded",
            retryAfterSeconds: 1)
        let body = ByteBuffer(string: error.body.text)
        let headers: HTTPHeaders = [
            "content-type": "application/json", "content-length": "\(body.readableBytes)",
            "retry-after": "1", "connection": "close",
        ]
        let head = HTTPResponseHead(
            version: .http1_1, status: .serviceUnavailable, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
        accessLog?.write(RequestRecord(method: "-", path: "-").line(from: address, otherwise: 503))
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isRefused { table.closed(context.channel) }
        for expectation in expectations {
            accessLog?.write(
                expectation.record.line(from: address, otherwise: Self.clientClosed))
        }
        expectations = []
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            table.disconnected(context.channel)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // A refused client may have sent something before it heard so.
        guard !isRefused else { return }
        guard case .head(var head) = unwrapInboundIn(data) else {
            return context.fireChannelRead(data)
        }
        let path = head.uri.split(separator: "?", maxSplits: 1).first.map(String.init) ?? "/"
        let record = RequestRecord(method: head.method.rawValue, path: path)
        // An answer to HTTP/1.0 ends with its connection, for it has no chunks.
        let isKeptAlive = head.isKeepAlive && head.version.hasChunks
        expectations.append(
            Expectation(version: head.version, isKeptAlive: isKeptAlive, record: record))
        table.keep(record, of: context.channel)
        table.requestBegan(context.channel)
        // The library reads this word alone, in lower case.
        if !isKeptAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            guard let expectation = expectations.first else {
                // Nobody's answer: the library refuses what it could not read.
                let record = RequestRecord(method: "-", path: "-")
                accessLog?.write(
                    record.line(from: address, otherwise: Int(head.status.code)))
                return context.write(data, promise: promise)
            }
            guard !head.isInformational else { return context.write(data, promise: promise) }
            expectation.record.answered(status: Int(head.status.code))
            if !expectation.version.hasChunks { head.version = .http1_0 }
            if !expectation.isKeptAlive {
                head.headers.replaceOrAdd(name: "connection", value: "close")
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body(let body):
            expectations.first?.record.wrote(bytes: body.readableBytes)
            context.write(data, promise: promise)
        case .end:
            if !expectations.isEmpty {
                let record = expectations.removeFirst().record
                accessLog?.write(record.line(from: address, otherwise: 200))
                table.requestEnded(context.channel)
            }
            context.write(data, promise: promise)
        }
    }
}

extension HTTPResponseHead {
    /// Whether another head follows: 100 and its kind.
    fileprivate var isInformational: Bool { (100 ..< 200).contains(status.code) }
}

extension HTTPVersion {
    /// Whether a body may come in chunks: from HTTP/1.1 on.
    fileprivate var hasChunks: Bool { (major, minor) >= (1, 1) }
}
