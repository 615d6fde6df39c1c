import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOHTTPCompression

/// How a request's body is encoded: `Content-Encoding`.
enum CompressedBody {
    /// Encodings that are read.
    static let encodings = ["gzip", "deflate"]

    /// Bytes that are expanded at a time: a thousandfold expansion of them is still small.
    private static let pieceBytes = 1 << 10

    /// The encoding that a header names, nil for a plain body.
    ///
    /// - Throws: 415 for encodings that are not read.
    static func encoding(_ header: String?) throws(APIError) -> String? {
        guard let header else { return nil }
        let name = header.lowercased().filter { $0 != " " && $0 != "\t" }
        if name.isEmpty || name == "identity" { return nil }
        let plain = name == "x-gzip" ? "gzip" : name
        guard encodings.contains(plain) else {
            throw APIError(
                status: 415,
                message: "Content-Encoding is \(AccessLog.escaped(header)): it must be "
                    + encodings.joined(separator: ", ") + " or identity",
                type: "invalid_request_error", acceptEncoding: encodings)
        }
        return plain
    }

    /// Expands a body.
    ///
    /// The library's decompressor is a handler of a channel; an embedded one lets it run on any
    /// thread, a small piece at a time, so that the limits are met before the memory is used.
    ///
    /// - Throws: 400 for bytes that are not of the encoding, 413 beyond `limit`, and what `account`
    ///   says.
    static func expand(
        _ bytes: [UInt8], _ encoding: String, limit: Int, account: BodyAccount
    ) throws -> [UInt8] {
        let channel = EmbeddedChannel()
        var result: [UInt8] = []
        do {
            try channel.pipeline.syncOperations.addHandler(
                NIOHTTPRequestDecompressor(limit: .none))
            let head = HTTPRequestHead(
                version: .http1_1, method: .POST, uri: "/",
                headers: ["content-encoding": encoding])
            try channel.writeInbound(HTTPServerRequestPart.head(head))
            for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
                let piece = bytes[start ..< min(start + pieceBytes, bytes.count)]
                try channel.writeInbound(HTTPServerRequestPart.body(ByteBuffer(bytes: piece)))
                try take(channel, into: &result, limit: limit, account: account)
            }
            try channel.writeInbound(HTTPServerRequestPart.end(nil))
            try take(channel, into: &result, limit: limit, account: account)
            _ = try channel.finish()
            return result
        } catch let error as APIError {
            throw error
        } catch {
            throw APIError.invalid("the body is not \(encoding): its bytes cannot be expanded")
        }
    }

    private static func take(
        _ channel: EmbeddedChannel, into result: inout [UInt8], limit: Int, account: BodyAccount
    ) throws {
        while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
            guard case .body(let expanded) = part else { continue }
            guard result.count + expanded.readableBytes <= limit else {
                throw APIError(
                    status: 413,
                    message: "the body expands to more than \(limit) bytes (api.limits.bodyBytes)",
                    type: "invalid_request_error")
            }
            try account.take(expanded.readableBytes)
            result += expanded.readableBytesView
        }
    }
}
