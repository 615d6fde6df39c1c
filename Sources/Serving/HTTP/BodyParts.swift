import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// A request's body as it arrives.
struct BodyParts {
    private var parts: RequestBody.AsyncIterator
    private let caller: Caller
    private let length: Int?
    private var count = 0

    /// Tells a client that waits for it to send its body.
    init(of request: Request, _ caller: Caller) async throws {
        self.caller = caller
        length = request.headers[.contentLength].flatMap { Int($0) }
        if request.headers[.expect]?.lowercased() == "100-continue" {
            try await caller.channel.writeAndFlush(
                HTTPResponsePart.head(HTTPResponse(status: .continue)))
        }
        parts = request.body.makeAsyncIterator()
    }

    /// What came next; nil after the last.
    ///
    /// - Throws: 400 for what is no HTTP, and 499 where the client left.
    mutating func next() async throws -> ByteBuffer? {
        do {
            if let part = try await parts.next() {
                count += part.readableBytes
                return part
            }
        } catch {
            // What the connection threw: it ended, or what came is no HTTP.
            let hasLeft =
                !caller.channel.isActive || error as? HTTPParserError == .invalidEOFState
            throw hasLeft ? .clientLeft : APIError.invalid("the body cannot be read: \(error)")
        }
        if let length, count < length { throw APIError.clientLeft }
        return nil
    }
}
