import Encoding
import Foundation
import Hummingbird
import HummingbirdCore
import NIOCore

/// A request of the Responses API that was understood.
struct ResponsePlan: Sendable {
    /// Whose response it is to be.
    let owner: String
    var chat: ChatPlan
    let head: ResponseHead
    /// The conversation so far.
    let turns: [JSONValue]
    var isStored: Bool
    let isInBackground: Bool
}

extension OpenAIService {
    /// `POST /v1/responses`.
    func respond(_ request: Request, _ caller: Caller, of owner: String) async throws -> Response {
        let known = try await understood(request, caller, shapes.responses) {
            try self.responsePlan($0, of: owner)
        }
        return try await inWords(ResponsesRequest.renamed) {
            var plan = known
            plan.chat = try await self.withCalls(known.chat, for: caller.address)
            let dialect = self.dialect(of: plan)
            guard plan.isInBackground else {
                return try await self.answer(plan.chat, caller, dialect)
            }
            return try await self.begin(plan, caller, dialect)
        }
    }

    /// How the Responses API writes the answer, which is stored if its request asks for that.
    func dialect(of plan: ResponsePlan) -> Responses {
        let responses = responses
        return Responses(head: plan.head) { response, turn in
            guard plan.isStored else { return }
            responses.end(
                plan.head.id, of: plan.owner, response, turns: plan.turns + [turn],
                inBackground: plan.isInBackground)
        }
    }

    /// What a request of the Responses API asks for.
    func responsePlan(_ body: JSONValue, of owner: String) throws -> ResponsePlan {
        do { return try plan(response: body, of: owner) } catch let error as APIError {
            throw ResponsesRequest.renamed(error)
        }
    }

    private func plan(response body: JSONValue, of owner: String) throws -> ResponsePlan {
        let previous = try body["previous_response_id"]?.string.map { id throws(APIError) in
            try responses.turns(of: id, of: owner)
        }
        let (chat, turns) = try ResponsesRequest.chat(body, after: previous ?? [])
        return ResponsePlan(
            owner: owner, chat: try plan(chat),
            head: ResponseHead(
                body, model: text.name, created: Int(Date().timeIntervalSince1970)),
            turns: turns, isStored: body["store"]?.bool ?? true,
            isInBackground: body["background"]?.bool ?? false)
    }

    /// Starts a response in the background.
    private func begin(
        _ plan: ResponsePlan, _ caller: Caller, _ dialect: Responses
    ) async throws -> Response {
        let streams = try await submit(
            plan.chat.requests, for: caller.key?.usage, of: caller.owner)
        let (id, head) = (plan.head.id, plan.head)
        let started = head.response(.inProgress, output: [], cost: nil)
        do throws(APIError) {
            try responses.begin(id, of: plan.owner, started, turns: plan.turns) { [weak streams] in
                streams?.end(CancellationError())
            }
        } catch {
            streams.end(CancellationError())
            throw error
        }
        Task {
            do {
                _ = try await self.answer(plan.chat, RequestStreamReader(streams), dialect, nil)
            } catch {
                let state: ResponseHead.State =
                    error is CancellationError
                    ? .cancelled : .failed(ResponsesRequest.renamed(APIError(error)))
                responses.end(
                    id, of: plan.owner, head.response(state, output: [], cost: nil),
                    turns: plan.turns,
                    inBackground: true)
            }
        }
        return .json(started)
    }

    /// `GET`, `DELETE /v1/responses/{id}`, and `POST /v1/responses/{id}/cancel`.
    func response(
        _ id: String, _ request: Request, of owner: String
    ) throws(APIError) -> Response {
        guard request.uri.queryParameters["stream"] != "true" else {
            throw .invalid(
                "stream is true: a stored response is read whole, with GET", parameter: "stream")
        }
        return try response(id, of: owner)
    }

    private func response(_ id: String, of owner: String) throws(APIError) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(
                byteBuffer: ByteBuffer(string: try responses.response(id, of: owner))))
    }

    func deleteResponse(_ id: String, of owner: String) throws(APIError) -> Response {
        try responses.delete(id, of: owner)
        return .json(["id": .string(id), "object": "response", "deleted": true])
    }

    /// Cancels a response in the background, and answers when it has ended.
    func cancelResponse(_ id: String, of owner: String) async throws -> Response {
        try responses.cancel(id, of: owner)
        let deadline = ContinuousClock.now + Self.cancelLimit
        while ContinuousClock.now < deadline,
            try responses.isUnderWay(id, of: owner)
        {
            try await Task.sleep(for: .milliseconds(5))
        }
        return try response(id, of: owner)
    }

    /// A text ends in the step after it is cancelled.
    private static let cancelLimit = Duration.seconds(5)
}
