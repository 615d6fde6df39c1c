import Encoding
import Topology

/// The API as OpenAPI 3.1 describes it, from the shapes that check requests.
struct OpenAPIDocument {
    let shapes: RequestShapes

    var value: JSONValue {
        [
            "openapi": "3.1.0",
            "info": [
                "title": "Apus", "version": .string(ApusVersion.current),
                "description": """
                Serves DeepSeek-V3-style models over the APIs of OpenAI and Anthropic.
                """,
            ],
            "paths": .object(paths),
            "components": [
                "schemas": ["Error": Self.error, "MessagesError": Self.messagesError],
                "securitySchemes": ["key": ["type": "http", "scheme": "bearer"]],
            ],
        ]
    }

    private var paths: [(key: String, value: JSONValue)] { generating + batches + others }

    private var generating: [(key: String, value: JSONValue)] {
        let fault: JSONValue = ["$ref": "#/components/schemas/MessagesError"]
        let response = Self.object(["id", "object", "created_at", "status", "output"])
        return [
            (
                "/v1/chat/completions",
                [
                    "post": post(
                        "Answers a chat.", shapes.chat,
                        Self.object(["id", "object", "created", "model", "choices"]), streams: true)
                ]
            ),
            (
                "/v1/completions",
                [
                    "post": post(
                        "Continues a text.", shapes.completion,
                        Self.object(["id", "object", "created", "model", "choices"]), streams: true)
                ]
            ),
            (
                "/v1/responses",
                [
                    "post": post(
                        "Answers a chat, as OpenAI's Responses API.", shapes.responses, response,
                        streams: true)
                ]
            ),
            (
                "/v1/responses/{id}",
                [
                    "get": Self.get("A stored response.", response, [404]),
                    "delete": Self.get(
                        "Forgets a stored response.", Self.object(["id", "deleted"]), [404]),
                    "parameters": [Self.pathID],
                ]
            ),
            (
                "/v1/responses/{id}/cancel",
                [
                    "post": Self.get("Ends a response in the background.", response, [400, 404]),
                    "parameters": [Self.pathID],
                ]
            ),
            (
                "/v1/messages",
                [
                    "post": post(
                        "Answers a chat, as Anthropic's Messages API.", shapes.messages,
                        Self.object(["id", "type", "role", "model", "content", "usage"]),
                        streams: true, failure: fault)
                ]
            ),
            (
                "/v1/messages/count_tokens",
                [
                    "post": post(
                        "Tokens of a message's prompt.", shapes.countTokens,
                        Self.object(["input_tokens"]), failure: fault)
                ]
            ),
        ]
    }

    static let pathID: JSONValue = [
        "name": "id", "in": "path", "required": true,
        "schema": ["type": "string", "minLength": 1],
    ]

    private var others: [(key: String, value: JSONValue)] {
        [
            ("/v1/models", ["get": Self.get("Lists the model.", Self.object(["object", "data"]))]),
            (
                "/v1/models/{model}",
                [
                    "get": Self.get("Describes a model.", Self.object(["id", "object"]), [404]),
                    "parameters": [
                        [
                            "name": "model", "in": "path", "required": true,
                            "schema": ["type": "string", "minLength": 1],
                        ]
                    ],
                ]
            ),
            (
                "/tokenize",
                [
                    "post": post(
                        "Text or chat to tokens.", shapes.tokenize,
                        Self.object(["count", "max_model_len", "tokens"]))
                ]
            ),
            (
                "/detokenize",
                ["post": post("Tokens to text.", shapes.detokenize, Self.object(["prompt"]))]
            ),
            ("/tokenizer_info", ["get": Self.get("The tokenizer's settings.", Self.object([]))]),
            (
                "/health",
                [
                    "get": Self.get(
                        "Ready if a step advanced lately.", Self.object(["status"]), [503],
                        failure: Self.object(["status"]))
                ]
            ),
            (
                "/ping",
                [
                    "get": Self.get(
                        "As /health.", Self.object(["status"]), [503],
                        failure: Self.object(["status"]))
                ]
            ),
            ("/version", ["get": Self.get("The version.", Self.object(["version"]))]),
            ("/load", ["get": Self.get("Texts under way.", Self.object(["server_load"]))]),
            (
                "/experts",
                ["get": Self.get("Tokens of each layer's experts.", Self.object(["groups"]))]
            ),
            (
                "/traffic",
                [
                    "get": Self.get(
                        "Bytes that each rank sends to each.",
                        Self.object([
                            "seconds", "ranks", "nodes", "bytes_per_second", "bytes",
                            "inside_node_bytes_per_second", "across_nodes_bytes_per_second",
                            "sent_bytes",
                        ]))
                ]
            ),
            (
                "/doctor",
                [
                    "get": Self.get(
                        "What was found when the job was checked.",
                        Self.object(["job", "failures", "warnings", "findings"]), [403, 404])
                ]
            ),
            (
                "/metrics",
                [
                    "get": [
                        "summary": "Counts for Prometheus.",
                        "responses": [
                            "200": [
                                "description": "Text format 0.0.4.",
                                "content": ["text/plain": ["schema": ["type": "string"]]],
                            ]
                        ],
                    ]
                ]
            ),
        ]
    }

    private static let error: JSONValue = [
        "type": "object", "required": ["error"],
        "properties": [
            "error": [
                "type": "object", "required": ["message", "type", "param", "code"],
                "properties": [
                    "message": ["type": "string"], "type": ["type": "string"],
                    "param": ["type": ["string", "null"]], "code": ["type": ["string", "null"]],
                ],
            ]
        ],
    ]

    private static let messagesError: JSONValue = [
        "type": "object", "required": ["type", "error"],
        "properties": [
            "type": ["const": "error"],
            "error": [
                "type": "object", "required": ["type", "message"],
                "properties": ["type": ["type": "string"], "message": ["type": "string"]],
            ],
        ],
    ]

    static func object(_ required: [String]) -> JSONValue {
        ["type": "object", "required": .array(required.map { .string($0) })]
    }

    static func content(_ type: String, _ schema: JSONValue) -> JSONValue {
        .object([(type, .object([("schema", schema)]))])
    }

    static func responses(
        _ success: JSONValue, _ failures: [Int], failure: JSONValue
    ) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("200", .object([("description", "Done."), ("content", success)]))
        ]
        for status in failures {
            members.append(
                (
                    "\(status)",
                    .object([
                        ("description", "See the error."),
                        ("content", content("application/json", failure)),
                    ])
                ))
        }
        return .object(members)
    }

    static let errorReference: JSONValue = ["$ref": "#/components/schemas/Error"]

    static func get(
        _ summary: String, _ success: JSONValue, _ failures: [Int] = [],
        failure: JSONValue = errorReference, query: [(name: String, schema: JSONValue)] = []
    ) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [("summary", .string(summary))]
        if !query.isEmpty {
            let parameters = query.map { name, schema -> JSONValue in
                ["name": .string(name), "in": "query", "schema": schema]
            }
            members.append(("parameters", .array(parameters)))
        }
        let answers = responses(
            content("application/json", success), failures, failure: failure)
        return .object(members + [("responses", answers)])
    }

    func post(
        _ summary: String, _ shape: Shape, _ success: JSONValue, streams: Bool = false,
        failure: JSONValue = errorReference
    ) -> JSONValue {
        var content: [(key: String, value: JSONValue)] = [
            ("application/json", ["schema": success])
        ]
        if streams {
            let event: JSONValue = ["type": "object", "properties": ["data": ["type": "string"]]]
            content.append(("text/event-stream", .object([("schema", event)])))
        }
        return [
            "summary": .string(summary),
            "requestBody": [
                "required": true, "content": Self.content("application/json", shape.schema),
            ],
            "responses": Self.responses(
                .object(content), [400, 401, 404, 413, 415, 429, 500, 503],
                failure: failure),
        ]
    }
}
