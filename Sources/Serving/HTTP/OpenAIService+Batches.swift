import Encoding
import Hummingbird
import HummingbirdCore

/// `/v1/batches`, and the answers that batches ask for.
extension OpenAIService {
    /// - Throws: 404 for a server that keeps no files.
    func batchRunner() throws(APIError) -> BatchRunner {
        guard let batches else {
            throw .notFound(
                "this server keeps no files and runs no batches: give it a folder for them "
                    + "(api.batchFolder, --batch-folder)",
                code: "batches_off")
        }
        return batches
    }

    /// `POST /v1/batches`.
    func createBatch(
        _ request: Request, _ caller: Caller, of owner: String
    ) async throws -> Response {
        let runner = try batchRunner()
        let batch = try await understood(request, caller, shapes.batch) { body in
            let input = body["input_file_id"]?.string ?? ""
            let file: StoredFile
            do throws(APIError) { file = try runner.folder.file(input, of: owner) } catch {
                throw APIError.invalid(
                    error.message, parameter: "input_file_id", code: "file_not_found")
            }
            guard file.purpose == .input else {
                throw APIError.invalid(
                    "\(file.id) was written by a batch: its purpose must be batch",
                    parameter: "input_file_id")
            }
            let pairs = (body["metadata"]?.object ?? []).map { ($0.key, $0.value.string ?? "") }
            return Batch(
                endpoint: BatchEndpoint(rawValue: body["endpoint"]?.string ?? "") ?? .chat,
                input: file.id, hours: try Self.hours(body["completion_window"]?.string ?? ""),
                metadata: Dictionary(pairs) { _, last in last }, owner: owner)
        }
        try runner.folder.add(batch)
        runner.start(batch.id, self)
        return .json(batch.object)
    }

    /// The hours of `24h`.
    private static func hours(_ window: String) throws(APIError) -> Int {
        guard window.last == "h", let hours = Int(window.dropLast()), (1 ... 168).contains(hours)
        else {
            throw .invalid(
                "completion_window is \(JSONValue.quoted(window)): it must be 1h to 168h, as 24h",
                parameter: "completion_window")
        }
        return hours
    }

    /// `GET /v1/batches`.
    func batchList(_ request: Request, of owner: String) throws -> Response {
        let batches = try batchRunner().folder.batches(of: owner)
        return .json(
            try ListPage(request, limit: 100, usual: 20).object(batches, id: \.id, \.object))
    }

    /// `GET /v1/batches/{id}`.
    func batch(_ id: String, of owner: String) throws -> Response {
        .json(try batchRunner().folder.batch(id, of: owner).object)
    }

    /// `POST /v1/batches/{id}/cancel`.
    func cancelBatch(_ id: String, of owner: String) throws -> Response {
        let runner = try batchRunner()
        let batch = try runner.folder.batch(id, of: owner)
        guard !batch.state.hasEnded else {
            throw APIError.invalid(
                "\(JSONValue.quoted(id)) is \(batch.state.rawValue): there is nothing to cancel")
        }
        try runner.cancel(id, self)
        return .json(try runner.folder.batch(id, of: owner).object)
    }
}

extension OpenAIService {
    /// Whom requests of batches count for, where addresses take turns.
    static let batchAddress = "batches"

    /// Understands one line of a batch's input.
    func batchLine(
        _ bytes: [UInt8], for endpoint: BatchEndpoint
    ) async throws -> Result<BatchLine, APIError> {
        try await lane(for: bytes.count).run(for: Self.batchAddress) {
            do throws(APIError) { return .success(try BatchLine(bytes, for: endpoint)) } catch {
                return .failure(error)
            }
        }
    }

    /// Answers one request of a batch, whole, as its endpoint would.
    ///
    /// - Throws: What the endpoint would answer; 429 too while batches would have more than half of
    ///   the texts that may be under way.
    func batchAnswer(
        _ line: BatchLine, to endpoint: BatchEndpoint, of owner: String
    ) async throws -> JSONValue {
        for name in ["stream", "background"] where line.body[name]?.bool == true {
            throw APIError.invalid(
                "\(name) is true: a batch has whole answers", parameter: name)
        }
        switch endpoint {
        case .chat:
            let plan = try await understood(line, shapes.chat) { try self.plan($0) }
            return try await whole(plan, of: owner, chatCompletions(plan))
        case .completions:
            let plan = try await understood(line, shapes.completion) {
                try self.completionPlan($0)
            }
            let streams = try await submit(
                plan.texts.map(\.request), for: usage(ofBatch: owner), of: owner,
                leaving: batchRoom)
            return try await answer(plan, RequestStreamReader(streams), writer("cmpl"), nil)
        case .responses:
            var plan = try await understood(line, shapes.responses) {
                try self.responsePlan($0, of: owner)
            }
            // Nobody knows its id before the batch has ended.
            plan.isStored = line.body["store"]?.bool ?? false
            let dialect = dialect(of: plan)
            let chat = plan.chat
            return try await inWords(ResponsesRequest.renamed) {
                try await self.whole(chat, of: owner, dialect)
            }
        case .messages:
            let plan = try await understood(line, shapes.messages) { try self.messagesPlan($0) }
            return try await inWords(MessagesRequest.renamed) {
                try await self.whole(plan, of: owner, self.messagesDialect())
            }
        }
    }

    /// Texts that stay for clients that wait.
    private var batchRoom: Int { limits.generations / 2 }

    /// Seconds after which to check again the key that made a batch, which has no tokens left or
    /// is not among the keys; nil when the batch may go on.
    ///
    /// - Parameter expires: When nobody waits any more, seconds since 1970.
    func secondsToWait(for owner: String, until expires: Int) -> Double? {
        guard StoredID.now < expires, !keys.isOpen, !owner.isEmpty else { return nil }
        guard let usage = keys.usage(of: owner) else { return Self.keyPause }
        let seconds = min(Self.keyPause, usage.secondsUntilToken(now: .now))
        return seconds > 0 ? seconds : nil
    }

    /// What the key that made a batch has used; nil for batches that were made without keys.
    ///
    /// - Throws: 429 for a key that left since the batch waited for it.
    private func usage(ofBatch owner: String) throws(APIError) -> KeyUsage? {
        guard !keys.isOpen, !owner.isEmpty else { return nil }
        guard let usage = keys.usage(of: owner) else {
            throw APIError(
                status: 429, message: "the key that made the batch is not among the keys now",
                type: "requests", code: "rate_limit_exceeded", retryAfterSeconds: 1)
        }
        return usage
    }

    /// How long a batch waits before it checks its key again.
    private static let keyPause = 5.0

    private func whole(
        _ plan: ChatPlan, of owner: String, _ dialect: some ChatDialect
    ) async throws -> JSONValue {
        let plan = try await withCalls(plan, for: Self.batchAddress)
        let streams = try await submit(
            plan.requests, for: usage(ofBatch: owner), of: owner, leaving: batchRoom)
        return try await answer(plan, RequestStreamReader(streams), dialect, nil)
    }

    private func understood<Value: Sendable>(
        _ line: BatchLine, _ shape: Shape,
        _ understand: @escaping @Sendable (JSONValue) throws -> Value
    ) async throws -> Value {
        try await lane(for: line.byteCount).run(for: Self.batchAddress) {
            try understand(self.checked(line.body, shape))
        }
    }
}
