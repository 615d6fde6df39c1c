import Encoding

/// Files and batches.
extension OpenAPIDocument {
    var batches: [(key: String, value: JSONValue)] { files + orders }

    private static let list = object(["object", "data", "has_more"])

    private var files: [(key: String, value: JSONValue)] {
        let file = Self.object(["id", "object", "bytes", "created_at", "filename", "purpose"])
        return [
            (
                "/v1/files",
                [
                    "get": Self.get(
                        "Lists the files of batches.", Self.list, [400, 404],
                        query: [
                            ("purpose", ["type": "string"]), ("after", ["type": "string"]),
                            ("order", ["enum": ["asc", "desc"]]), ("limit", Self.pageLimit(10_000)),
                        ]),
                    "post": upload(file),
                ]
            ),
            (
                "/v1/files/{id}",
                [
                    "get": Self.get("Describes a file.", file, [404]),
                    "delete": Self.get(
                        "Deletes a file.", Self.object(["id", "deleted"]), [400, 404]),
                    "parameters": [Self.pathID],
                ]
            ),
            (
                "/v1/files/{id}/content",
                [
                    "get": [
                        "summary": "What is in a file.",
                        "responses": Self.responses(
                            Self.content("application/jsonl", ["type": "string"]), [404],
                            failure: Self.errorReference),
                    ],
                    "parameters": [Self.pathID],
                ]
            ),
        ]
    }

    private var orders: [(key: String, value: JSONValue)] {
        let batch = Self.object(["id", "object", "endpoint", "status", "request_counts"])
        return [
            (
                "/v1/batches",
                [
                    "get": Self.get(
                        "Lists batches, the latest first.", Self.list, [400, 404],
                        query: [("after", ["type": "string"]), ("limit", Self.pageLimit(100))]),
                    "post": post("Answers a file of requests.", shapes.batch, batch),
                ]
            ),
            (
                "/v1/batches/{id}",
                [
                    "get": Self.get("How far a batch is.", batch, [404]),
                    "parameters": [Self.pathID],
                ]
            ),
            (
                "/v1/batches/{id}/cancel",
                [
                    "post": Self.get("Ends a batch.", batch, [400, 404]),
                    "parameters": [Self.pathID],
                ]
            ),
        ]
    }

    private static func pageLimit(_ most: Int) -> JSONValue {
        ["type": "integer", "minimum": 1, "maximum": .number(most)]
    }

    private func upload(_ file: JSONValue) -> JSONValue {
        let form: JSONValue = [
            "type": "object", "required": ["file", "purpose"], "additionalProperties": false,
            "properties": [
                "file": ["type": "string", "format": "binary"], "purpose": ["const": "batch"],
            ],
        ]
        return [
            "summary": "Stores a file for a batch.",
            "requestBody": [
                "required": true, "content": Self.content("multipart/form-data", form),
            ],
            "responses": Self.responses(
                Self.content("application/json", file), [400, 401, 404, 413, 415, 500],
                failure: Self.errorReference),
        ]
    }
}
