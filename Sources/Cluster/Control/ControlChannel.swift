import NIOCore
import NIOExtras
import NIOPosix

/// Turns the sealed bodies of frames into messages and back.
final class FrameCodec: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ControlFrame
    typealias OutboundIn = ControlFrame
    typealias OutboundOut = ByteBuffer
    private var seals: FrameSeals

    init(_ seals: FrameSeals) { self.seals = seals }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            let bytes = try seals.inbound.open(Array(unwrapInboundIn(data).readableBytesView))
            let frame = try ControlFrame(decoding: bytes)
            context.fireChannelRead(wrapInboundOut(frame))
        } catch {
            context.fireErrorCaught(error)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        do {
            let bytes = seals.outbound.seal(try unwrapOutboundIn(data).encoded())
            let buffer = context.channel.allocator.buffer(bytes: bytes)
            context.write(wrapOutboundOut(buffer), promise: promise)
        } catch {
            promise?.fail(error)
            context.fireErrorCaught(error)
        }
    }
}

/// Cuts the stream into frames: a 4-byte length, then the body.
///
/// A frame that claims more than the limit is refused by its claim, before anything of it is kept,
/// which NIOExtras' own decoder (up to 2 GiB) does not do.
final class FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = ByteBuffer
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func decode(
        context: ChannelHandlerContext, buffer: inout ByteBuffer
    ) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else {
            return .needMoreData
        }
        guard Int(length) <= limit else {
            throw FrameError("a frame of \(length) bytes: the limit is \(limit)")
        }
        guard buffer.readableBytes >= 4 + Int(length) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 4)
        guard let body = buffer.readSlice(length: Int(length)) else { return .needMoreData }
        context.fireChannelRead(wrapInboundOut(body))
        return .continue
    }
}

/// What both ends of a connection put between the socket and their own handler.
enum ControlChannel {
    /// Adds framing, sealing and coding behind `position`; must run on the channel's event loop.
    static func addFraming(
        to pipeline: ChannelPipeline.SynchronousOperations, _ seals: FrameSeals,
        after position: any ChannelHandler
    ) throws {
        let limit = ControlProtocol.largestFrameBytes + FrameSeal.addedBytes
        let handlers: [any ChannelHandler] = [
            ByteToMessageHandler(FrameDecoder(limit: limit)),
            LengthFieldPrepender(lengthFieldLength: .four),
            FrameCodec(seals),
        ]
        try pipeline.addHandlers(handlers, position: .after(position))
    }

    /// Options of every control connection: small frames go out at once, and a process that does
    /// not read is noticed before it costs memory.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
        low: ControlProtocol.mostUnsentBytes / 2, high: ControlProtocol.mostUnsentBytes)
}
