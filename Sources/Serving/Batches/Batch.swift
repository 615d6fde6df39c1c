import Encoding

/// The paths whose requests a batch may hold.
enum BatchEndpoint: String, CaseIterable, Codable, Sendable {
    case chat = "/v1/chat/completions"
    case completions = "/v1/completions"
    case responses = "/v1/responses"
    case messages = "/v1/messages"
}

/// A file of requests that is answered without its client.
///
///     validating -> in_progress -> finalizing -> completed
///          |             |----------> expired        (its window is over)
///          |             |-> cancelling -> cancelled
///          '-> failed <--'   (a line is no request; the disk is full)
struct Batch: Codable, Sendable {
    /// How far it is, in the API's words.
    enum State: String, Codable, Sendable {
        case validating, failed, finalizing, completed, expired, cancelling, cancelled
        case inProgress = "in_progress"

        var hasEnded: Bool {
            switch self {
            case .failed, .completed, .expired, .cancelled: true
            case .validating, .inProgress, .finalizing, .cancelling: false
            }
        }
    }

    /// Why a batch failed.
    struct Fault: Codable, Hashable, Sendable {
        let code: String
        let message: String
        /// Line of the input, from 1.
        var line: Int?
    }

    /// An input that no batch can be made of.
    struct Refused: Error { let faults: [Fault] }

    /// Requests by what became of them.
    struct Counts: Codable, Hashable, Sendable {
        var total = 0
        var completed = 0
        var failed = 0
    }

    let id: String
    let endpoint: BatchEndpoint
    /// Id of the file with the requests.
    let input: String
    /// Hours after which what is left is given up.
    let hours: Int
    let metadata: [String: String]
    let owner: String
    /// Seconds since 1970, of the order and of every state that was reached.
    let created: Int
    var times: [String: Int] = [:]
    private(set) var state = State.validating
    /// Ids that the files with answers and with errors have once they are there.
    let output: String
    let errors: String
    var hasOutput = false
    var hasErrors = false
    /// Whether requests were given up because the window was over.
    var hasExpired = false
    var counts = Counts()
    var faults: [Fault] = []

    init(
        endpoint: BatchEndpoint, input: String, hours: Int, metadata: [String: String],
        owner: String
    ) {
        id = StoredID.make(StoredID.batch)
        output = StoredID.make(StoredID.file)
        errors = StoredID.make(StoredID.file)
        created = StoredID.now
        self.endpoint = endpoint
        self.input = input
        self.hours = hours
        self.metadata = metadata
        self.owner = owner
    }

    /// Seconds since 1970, after which what is left is given up.
    var expires: Int { created + hours * 3600 }

    mutating func enter(_ state: State) {
        guard state != self.state else { return }
        self.state = state
        times["\(state.rawValue)_at"] = StoredID.now
    }

    private static let timeNames = [
        "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
        "cancelling_at", "cancelled_at",
    ]

    /// The batch as the API describes it.
    var object: JSONValue {
        let shown: [(key: String, value: JSONValue)] = [
            ("id", .string(id)), ("object", "batch"), ("endpoint", .string(endpoint.rawValue)),
            ("errors", faults.isEmpty ? .null : faultList),
            ("input_file_id", .string(input)), ("completion_window", .string("\(hours)h")),
            ("status", .string(state.rawValue)),
            ("output_file_id", hasOutput ? .string(output) : .null),
            ("error_file_id", hasErrors ? .string(errors) : .null),
            ("created_at", .number(created)), ("expires_at", .number(expires)),
        ]
        let times = Self.timeNames.map { name in
            (key: name, value: self.times[name].map { JSONValue.number($0) } ?? .null)
        }
        let counted: JSONValue = [
            "total": .number(counts.total), "completed": .number(counts.completed),
            "failed": .number(counts.failed),
        ]
        let pairs = metadata.sorted { $0.key < $1.key }.map {
            (key: $0.key, value: JSONValue.string($0.value))
        }
        return .object(
            shown + times + [("request_counts", counted), ("metadata", .object(pairs))])
    }

    private var faultList: JSONValue {
        let data = faults.map { fault -> JSONValue in
            [
                "code": .string(fault.code), "message": .string(fault.message), "param": .null,
                "line": fault.line.map { .number($0) } ?? .null,
            ]
        }
        return ["object": "list", "data": .array(data)]
    }
}
