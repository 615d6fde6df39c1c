import Encoding
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// `/v1/files`: what batches read and write.
extension OpenAIService {
    private static let pieceBytes = 1 << 16
    /// Bytes that a form may have around its file.
    private static let formBytes = 64 << 10
    /// Bytes that a client sends at least within `idleSeconds`, unless they are the last.
    private static let leastBytes = 64 << 10

    /// `POST /v1/files`.
    func upload(_ request: Request, _ caller: Caller, of owner: String) async throws -> Response {
        let folder = try batchRunner().folder
        let upload = try FileUpload(
            folder, of: owner, contentType: request.headers[.contentType] ?? "",
            limit: limits.fileBytes)
        let length = request.headers[.contentLength].flatMap { Int($0) }
        // Before a client sends what is too much in any case.
        if let length, length > limits.fileBytes + Self.formBytes {
            throw FileUpload.tooLarge(limits.fileBytes)
        }
        connections.expect(caller.channel, within: limits.idleSeconds)
        defer { connections.moved(caller.channel) }
        var parts = try await BodyParts(of: request, caller)
        var (received, renewed) = (0, 0)
        while let part = try await parts.next() {
            received += part.readableBytes
            guard received <= limits.fileBytes + Self.formBytes else {
                throw FileUpload.tooLarge(limits.fileBytes)
            }
            if received - renewed >= Self.leastBytes {
                connections.expect(caller.channel, within: limits.idleSeconds)
                renewed = received
            }
            try upload.append(part.readableBytesView)
        }
        connections.moved(caller.channel)
        return .json(try await upload.finish().object)
    }

    /// `GET /v1/files`.
    func files(_ request: Request, of owner: String) throws -> Response {
        var files = try batchRunner().folder.files(of: owner)
        if let purpose = request.uri.queryParameters["purpose"] {
            files = files.filter { $0.purpose.rawValue == purpose }
        }
        if try ListPage.word("order", ["asc", "desc"], request) == "asc" { files.reverse() }
        return .json(try ListPage(request, limit: 10_000).object(files, id: \.id, \.object))
    }

    /// `GET /v1/files/{id}`.
    func file(_ id: String, of owner: String) throws -> Response {
        .json(try batchRunner().folder.file(id, of: owner).object)
    }

    /// `DELETE /v1/files/{id}`.
    func deleteFile(_ id: String, of owner: String) throws -> Response {
        try batchRunner().folder.delete(id, of: owner)
        return .json(["id": .string(id), "object": "file", "deleted": true])
    }

    /// `GET /v1/files/{id}/content`.
    func fileContent(_ id: String, _ caller: Caller, of owner: String) throws -> Response {
        let folder = try batchRunner().folder
        let file = try folder.file(id, of: owner)
        let handle = try FileHandle(forReadingFrom: URL(filePath: folder.path(of: id)))
        let (service, bytes) = (self, file.bytes)
        return Response(
            status: .ok, headers: [.contentType: "application/jsonl"],
            body: ResponseBody(contentLength: bytes) { writer in
                var left = bytes
                while left > 0,
                    let piece = try handle.read(upToCount: min(left, Self.pieceBytes)),
                    !piece.isEmpty
                {
                    left -= piece.count
                    service.connections.expect(
                        caller.channel, within: service.limits.writeSeconds)
                    defer { service.connections.moved(caller.channel) }
                    try await writer.write(ByteBuffer(bytes: piece))
                }
                // What ends well is taken for the whole file.
                guard left == 0 else {
                    throw ServingError.engine(message: "\(id) lacks its last \(left) bytes")
                }
                try await writer.finish(nil)
            })
    }
}

/// A part of a list, as its request asks.
struct ListPage {
    private let limit: Int
    private let after: String?

    /// - Parameter limit: The most that a page may have, and what it has by default up to 20.
    init(_ request: Request, limit: Int, usual: Int? = nil) throws(APIError) {
        after = request.uri.queryParameters["after"].map(String.init)
        let word = request.uri.queryParameters["limit"].map(String.init)
        let count = word.map { Int($0) ?? 0 } ?? usual ?? limit
        guard (1 ... limit).contains(count) else {
            throw .invalid(
                "limit is \(JSONValue.quoted(word ?? "")): it must be 1 to \(limit)",
                parameter: "limit")
        }
        self.limit = count
    }

    /// A query parameter that takes some words.
    static func word(
        _ name: String, _ words: [String], _ request: Request
    ) throws(APIError) -> String? {
        guard let word = request.uri.queryParameters[Substring(name)].map(String.init) else {
            return nil
        }
        guard words.contains(word) else {
            throw .invalid(
                "\(name) is \(JSONValue.quoted(String(word.prefix(64)))): it must be "
                    + words.joined(separator: " or "),
                parameter: name)
        }
        return word
    }

    /// - Throws: 400 where `after` names nothing in the list.
    func object<Item>(
        _ items: [Item], id: (Item) -> String, _ object: (Item) -> JSONValue
    ) throws(APIError) -> JSONValue {
        var rest = items[...]
        if let after {
            guard let index = items.firstIndex(where: { id($0) == after }) else {
                throw .invalid(
                    "after is \(JSONValue.quoted(String(after.prefix(128)))), which is not in the "
                        + "list", parameter: "after")
            }
            rest = items[(index + 1)...]
        }
        let page = rest.prefix(limit)
        return [
            "object": "list", "data": .array(page.map(object)),
            "first_id": .optional(page.first.map(id)), "last_id": .optional(page.last.map(id)),
            "has_more": .bool(page.count < rest.count),
        ]
    }
}
