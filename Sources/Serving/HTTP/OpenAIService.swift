import Encoding
import Foundation
import Grammar
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Language
import Logging
import NIOCore
import Synchronization
import Topology

/// Handles the requests of the OpenAI API: what every endpoint needs, in one place.
final class OpenAIService: Sendable {
    let text: ModelText
    let router: any RequestRouter
    let limits: ServiceLimits
    let grammars: CompiledGrammars
    let log: Logger
    let metrics = ServiceMetrics()
    let connections: ConnectionTable
    let permits: PermitPool
    /// Texts under way that clients asked for themselves, and no batch.
    private let clientTexts = PermitPool(limit: .max)
    let keys: KeyRing
    let operators = OperatorRequests()
    let traces = TraceTasks()
    let prefixes: PrefixRoots
    let bodies: BodyBudget
    /// Where requests are understood: JSON, schemas, templates and tokens.
    let lane = WorkLane("apus-requests", niceness: 0)
    /// The same for large bodies, one at a time and behind everything else that computes.
    let slowLane = WorkLane("apus-bodies", niceness: 10)
    let shapes: RequestShapes
    /// Written once: it takes milliseconds, and anybody may ask for it.
    private let openAPIDocument: ByteBuffer
    let responses: ResponseStore
    /// Where the server keeps files, and what runs batches; nil for a server that does not.
    let batches: BatchRunner?
    /// Nil for HTTP without TLS.
    private let certificate: ServerCertificate?
    private let created = Int(Date().timeIntervalSince1970)
    private let ids: Mutex<UInt64>
    private let isDraining = Mutex(false)
    private let underWay = StreamTable()
    private let expertLoads: ExpertLoads
    private let traffic: TrafficRates
    /// What was found when the job was checked, if anybody kept that.
    private let doctorAnswer: DoctorAnswer
    /// The probe of the engines that every caller of `/health` waits for.
    private let probe = Mutex<Task<Bool, Never>?>(nil)

    /// A step within this long says that the engines are alive.
    private static let freshStep = Duration.seconds(10)
    /// How long a probe may take before the engines count as stuck.
    private static let probeLimit = Duration.seconds(5)

    /// Between two checks whether texts are under way.
    private static let drainPause = Duration.milliseconds(50)

    init(
        text: ModelText, router: any RequestRouter, limits: ServiceLimits,
        grammars: CompiledGrammars, keys: KeyRing, prefixes: PrefixRoots, batches: BatchFolder?,
        certificate: ServerCertificate?, doctorReport: @escaping @Sendable () -> Data? = { nil },
        log: Logger
    ) {
        let views = WorkLane("apus-views", niceness: 10)
        expertLoads = ExpertLoads(on: views)
        traffic = TrafficRates(on: views)
        doctorAnswer = DoctorAnswer(on: views, doctorReport)
        self.certificate = certificate
        self.text = text
        self.prefixes = prefixes
        self.batches = batches.map { BatchRunner($0, limits: limits) }
        self.router = router
        self.limits = limits
        self.grammars = grammars
        self.keys = keys
        self.log = log
        connections = ConnectionTable(
            ConnectionLedger.Limits(limits, descriptors: limits.connections))
        permits = PermitPool(limit: limits.generations)
        bodies = BodyBudget(limits)
        responses = ResponseStore(bytes: limits.storedResponseBytes)
        shapes = RequestShapes(limits: limits, vocabularySize: text.vocabularySize)
        openAPIDocument = ByteBuffer(string: OpenAPIDocument(shapes: shapes).value.text)
        // Ids of two coordinators in a row differ, so that a late event of the first finds nothing.
        ids = Mutex(UInt64(Date().timeIntervalSince1970) << 24)
    }

    func beginDraining() { isDraining.withLock { $0 = true } }

    /// Refuses new requests, and returns once no client waits for a text, or at once when the task
    /// is cancelled. What batches have under way is not waited for: a later server goes on with it.
    func drain() async {
        beginDraining()
        traces.end()
        while clientTexts.count > 0 {
            do { try await Task.sleep(for: Self.drainPause) } catch { return }
        }
    }

    /// Ends every request under way with this error, and refuses later ones.
    func end(_ error: ServingError) {
        traces.end()
        underWay.end(error)
    }

    func nextID() -> RequestID {
        ids.withLock { id in
            id += 1
            return RequestID(rawValue: id)
        }
    }

    func writer(_ kind: String) -> AnswerWriter {
        AnswerWriter(
            id: "\(kind)-\(String(nextID().rawValue, radix: 16))", model: text.name,
            created: Int(Date().timeIntervalSince1970), tokenizer: text.tokenizer)
    }

    /// Submits requests to the engines, after the checks that do not depend on an endpoint.
    ///
    /// - Parameters:
    ///   - usage: Of the key that asks, if there are keys: its limits hold for a client that waits.
    ///   - owner: Whose prefixes they find, also where the key is gone; empty for everybody's.
    ///   - room: Of a batch, which waited for its key's turn: texts that may be under way for
    ///     others beside these.
    func submit(
        _ requests: [GenerationRequest], for usage: KeyUsage?, of owner: String,
        leaving room: Int? = nil
    ) async throws -> RequestStreams {
        if isDraining.withLock({ $0 }) { throw ServingError.draining }
        var permits = [try permits.acquire(requests.count, leaving: room ?? 0)]
        if room == nil { permits.append(try clientTexts.acquire(requests.count)) }
        let requests = requests.map { request in
            var request = request
            request.cacheSalt = prefixes.root(of: owner, under: request.cacheSalt)
            return request
        }
        let tokens = Self.promptTokens(of: requests)
        guard room == nil, let usage else {
            let streams = try await streams(of: requests, permits, usage)
            usage?.charge(tokens: tokens)
            return streams
        }
        permits.append(
            try usage.admitTexts(requests.count, promptTokens: tokens, now: .now))
        do {
            let streams = try await streams(of: requests, permits, usage)
            usage.count(tokens: tokens)
            return streams
        } catch {
            usage.giveBack(promptTokens: tokens)
            throw error
        }
    }

    /// Submits requests that were admitted, whose permits they hold until they end.
    private func streams(
        of requests: [GenerationRequest], _ permits: [Permit], _ usage: KeyUsage?
    ) async throws -> RequestStreams {
        // All texts of a request have one constraint: it is compiled once, on a thread of its own.
        if let constraint = requests.first?.constraint {
            try Self.checkAmount(constraint, texts: requests.count)
            do throws(GrammarError) { try await grammars.prepare(constraint) } catch {
                throw ServingError(error)
            }
        }
        let streams = try await RequestStreams(
            requests, router: router, permits: permits, usage: usage,
            silence: .seconds(limits.commentSeconds))
        underWay.add(streams)
        return streams
    }

    /// Tokens of all prompts; the texts of one prompt follow each other and count it once.
    private static func promptTokens(of requests: [GenerationRequest]) -> Int {
        requests.indices.reduce(0) { sum, index in
            let prompt = requests[index].prompt
            let isSame = index > 0 && requests[index - 1].prompt == prompt
            return isSame ? sum : sum + prompt.count
        }
    }

    /// Bytes of a constraint's texts that one HTTP request may send to the ranks: each of its texts
    /// takes the constraint along.
    static let constraintBytes = 32 << 20

    private static func checkAmount(_ constraint: OutputConstraint, texts: Int) throws {
        let bytes = constraint.textBytes
        guard bytes * texts > constraintBytes else { return }
        throw APIError.invalid(
            "a constraint of \(bytes) bytes for \(texts) texts: the limit is "
                + "\(constraintBytes) bytes in all (OpenAIService.constraintBytes)")
    }

}

extension OpenAIService {
    /// 200 if a step advanced lately; else a probe of one token must, in time, which is one for all
    /// who ask. 503 while no step can be made, because a rank is lost.
    func health() async -> Response {
        if isDraining.withLock({ $0 }) { return Self.status("draining", .serviceUnavailable) }
        let health = router.health
        if !health.serves { return fields(of: health, .serviceUnavailable) }
        if let age = metrics.sinceStep, age < Self.freshStep { return fields(of: health, .ok) }
        let running = probe.withLock { probe in
            let running =
                probe
                ?? Task {
                    let isAlive = await stepAdvances()
                    self.probe.withLock { $0 = nil }
                    return isAlive
                }
            probe = running
            return running
        }
        return await running.value
            ? fields(of: health, .ok) : Self.status("no step advances", .serviceUnavailable)
    }

    /// Whether the engines answer a request of one token in time.
    private func stepAdvances() async -> Bool {
        var request = GenerationRequest(
            id: nextID(), prompt: [text.tokenizer.beginningOfSequenceID ?? 0], maxNewTokens: 1)
        request.sampling = .greedy
        let id = request.id
        let router = router
        let probe = request
        let isAlive = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    for try await event in try await router.submit(probe) {
                        if case .finished = event { return true }
                    }
                } catch { return false }
                return false
            }
            group.addTask {
                do { try await Task.sleep(for: Self.probeLimit) } catch { return false }
                return false
            }
            let first = await group.next() ?? false
            group.cancelAll()
            return first
        }
        if isAlive {
            metrics.stepSeen()
        } else {
            await router.cancel(id)
        }
        return isAlive
    }

    /// The word for the ranks, and which of them were lost or drained.
    private func fields(
        of health: ServiceHealth, _ code: HTTPResponse.Status
    ) -> Response {
        var fields: [(key: String, value: JSONValue)] = [("status", .string(health.word))]
        let roles = (router as? any RoleCounting)?.roles()
        for (name, ranks) in [
            ("lost_ranks", health.lostRanks), ("drained_ranks", health.drainedRanks),
            ("prefill_ranks", roles?.prefill ?? []), ("decode_ranks", roles?.decode ?? []),
        ] where !ranks.isEmpty {
            fields.append((name, .array(ranks.map { .number($0) })))
        }
        return .json(.object(fields), status: code)
    }

    private static func status(_ word: String, _ code: HTTPResponse.Status) -> Response {
        .json(["status": .string(word)], status: code)
    }

    func version() -> Response { .json(["version": .string(ApusVersion.current)]) }

    func load() -> Response { .json(["server_load": .number(permits.count)]) }

    func experts() async throws -> Response { .json(try await expertLoads.text(of: router)) }

    /// The names of machines are an admin's alone, and no page's of another origin; all others get
    /// numbers in their place.
    func trafficMatrix(_ request: Request, _ caller: Caller) async throws -> Response {
        let namesNodes = caller.key?.key.isAdmin == true && request.headers[.origin] == nil
        return .json(try await traffic.text(of: router, namesNodes: namesNodes))
    }

    func doctor() async throws -> Response {
        guard let report = try await doctorAnswer.text() else {
            throw APIError.notFound(
                "no report of apus doctor is kept here: apus launch keeps one in the job's folder, "
                    + "and one of more than 1 MiB is not read (JobFolder.mostReportBytes)")
        }
        return .json(report)
    }

    /// - Parameter caller: Who asks: without a word of its own in the key file, a key sees what it
    ///   has used itself.
    func metricsText(for caller: APIKey?) async -> Response {
        let seesAll = caller.map { $0.isAdmin || $0.readsMetrics } ?? true
        let seen = keys.entries.filter { seesAll || $0.key.name == caller?.name }
        let health = router.health
        let text = metrics.text(
            await router.statistics(),
            now: ServiceMetrics.Now(
                connections: connections.count, rejections: connections.rejections,
                generations: permits.count, bodyBytes: bodies.count,
                lostRanks: health.lostRanks.count, drainedRanks: health.drainedRanks.count,
                roles: (router as? any RoleCounting)?.roles(), serves: health.serves,
                certificateSeconds: certificate?.secondsLeft(at: .now),
                keys: seen.map { ($0.key.name, $0.usage.counts) }))
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    func openAPI() -> Response { .json(openAPIDocument) }

    func models() -> Response {
        .json([
            "object": "list", "data": .array([card]), "has_more": false,
            "first_id": .string(text.name), "last_id": .string(text.name),
        ])
    }

    func model(named name: String) throws(APIError) -> Response {
        guard name.removingPercentEncoding == text.name else {
            throw .notFound(
                "there is no model \(JSONValue.quoted(name)): this server has \(text.name)",
                code: "model_not_found")
        }
        return .json(card)
    }

    /// The model, as clients of OpenAI's and of Anthropic's API know one.
    private var card: JSONValue {
        let date = Date(timeIntervalSince1970: TimeInterval(created)).formatted(.iso8601)
        return [
            "id": .string(text.name), "object": "model", "created": .number(created),
            "type": "model", "display_name": .string(text.name), "created_at": .string(date),
            "owned_by": "apus", "root": .string(text.name), "parent": .null,
            "max_model_len": .number(text.contextTokens),
        ]
    }

    func tokenizerInfo() -> Response { .json(text.tokenizerInfo) }
}
