import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// One connection's way from bytes to requests.
///
/// The library's own channel has no place before the version of a request is forgotten, and lets a
/// connection hold hundreds of kilobytes that nobody has asked for yet.
struct APIChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let responder: HTTPChannelHandler.Responder
    let limits: ServiceLimits
    let table: ConnectionTable
    let accessLog: AccessLog?
    /// Nil for HTTP without TLS.
    let certificate: ServerCertificate?

    /// Bytes that one read takes at most.
    private static let readBytes = 16 << 10
    /// Parts of a request that wait for its handler: with `readBytes`, what a connection may hold
    /// outside of `BodyBudget`.
    private static let waitingParts = 2 ... 4

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            var decoder = NIOHTTPDecoderLimitConfiguration()
            decoder.maxHeaderFieldSize = limits.headerBytes
            decoder.maxHeaderListSize = limits.headerBytes
            decoder.maxHeaderFieldCount = 100
            let pipeline = channel.pipeline.syncOperations
            try channel.syncOptions?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 64, initial: 2048, maximum: Self.readBytes))
            if let certificate {
                // A client that may not stand still for long may not in its handshake either.
                let seconds = min(TLSHandler.handshakeSeconds, limits.idleSeconds)
                try pipeline.addHandler(
                    TLSHandler(TLSSession(certificate.current), handshakeSeconds: seconds) {
                        certificate.handshakeFailed($0, from: $1, now: .now)
                    })
            }
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false,
                withOutboundHeaderValidation: false, withEncoderConfiguration: .init(),
                withDecoderLimitConfiguration: decoder)
            try pipeline.addHandler(ConnectionHandler(table, accessLog: accessLog))
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: certificate != nil))
            try pipeline.addHandler(
                HTTPConnectionStateHandler(
                    idleTimeout: .seconds(limits.idleSeconds), logger: logger))
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(
                    backPressureStrategy: .init(
                        lowWatermark: Self.waitingParts.lowerBound,
                        highWatermark: Self.waitingParts.upperBound),
                    isOutboundHalfClosureEnabled: true))
        }
    }

    func handle(value: Value, logger: Logger) async {
        await handleHTTP(asyncChannel: value, logger: logger)
    }
}
