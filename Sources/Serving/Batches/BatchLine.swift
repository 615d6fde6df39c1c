import Encoding

/// One request of a batch, as a line of its input says it.
struct BatchLine: Sendable {
    let id: String
    let body: JSONValue
    /// Bytes of the line.
    let byteCount: Int

    private static let shape = Shape.object([
        .init("custom_id", .string(1 ... 512), required: true),
        .init("method", .enumeration(["POST"]), required: true),
        .init(
            "url", .enumeration(BatchEndpoint.allCases.map(\.rawValue)), required: true),
        .init("body", .map(.any, limit: 10_000), required: true),
    ])

    /// - Throws: 400 that says what is wrong with the line.
    init(_ bytes: [UInt8], for endpoint: BatchEndpoint) throws(APIError) {
        let value: JSONValue
        do { value = try JSONValue.parse(bytes) } catch {
            throw .invalid("the line is \(error)", code: "invalid_json_line")
        }
        guard value.object != nil else {
            throw .invalid(
                "the line must be a JSON object, not \(value.kind)", code: "invalid_json_line")
        }
        try Self.shape.check(value, at: "")
        guard value["url"]?.string == endpoint.rawValue else {
            throw .invalid(
                "url is not \(endpoint.rawValue), which the batch is for", parameter: "url",
                code: "mismatched_url")
        }
        byteCount = bytes.count
        id = value["custom_id"]?.string ?? ""
        body = value["body"] ?? [:]
    }

    private struct Found: Error {}

    /// The request that a line of results is of; nil where the line is damaged.
    ///
    /// What stands behind `custom_id` is not read, because an answer in a line of results may lie
    /// deeper than a reader goes.
    static func id(ofResult line: [UInt8]) -> String? {
        guard line.last == UInt8(ascii: "}") else { return nil }
        var reader = JSONReader(line)
        var id: String?
        do {
            try reader.members { reader in
                guard String(decoding: reader.text, as: UTF8.self) == "custom_id" else {
                    return try reader.skip()
                }
                id = try reader.string()
                throw Found()
            }
        } catch { return id }
        return nil
    }

    /// What an output file says of a request.
    static func result(_ id: String, status: Int, body: JSONValue) -> JSONValue {
        [
            "id": .string(StoredID.make("batch_req_")), "custom_id": .string(id),
            "response": [
                "status_code": .number(status), "request_id": .string(StoredID.make("req_")),
                "body": body,
            ],
            "error": .null,
        ]
    }

    /// What an error file says of a request that was given up.
    static func expired(_ id: String) -> JSONValue {
        [
            "id": .string(StoredID.make("batch_req_")), "custom_id": .string(id),
            "response": .null,
            "error": [
                "code": "batch_expired",
                "message": "the batch's completion window was over before this request",
            ],
        ]
    }
}
