import Encoding
import Foundation
import Hummingbird
import HummingbirdCore
import NIOCore

/// A request of the Responses API that was understood.
private struct ResponsePlan: Sendable {
    let chat: ChatPlan
    let head: ResponseHead
    /// The conversation so far.
    let turns: [JSONValue]
    let isStored: Bool
    let isInBackground: Bool
}

extension OpenAIService {
    /// `POST /v1/responses`.
    func respond(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await understood(request, caller, shapes.responses) {
            do { return try self.plan(response: $0) } catch let error as APIError {
                throw ResponsesRequest.renamed(error)
            }
        }
        let responses = responses
        let dialect = Responses(head: plan.head) { response, turn in
            guard plan.isStored else { return }
            responses.end(
                plan.head.id, response, turns: plan.turns + [turn],
                inBackground: plan.isInBackground)
        }
        guard plan.isInBackground else { return try await answer(plan.chat, caller, dialect) }
        return try await begin(plan, dialect)
    }

    private func plan(response body: JSONValue) throws -> ResponsePlan {
        let previous = try body["previous_response_id"]?.string.map { id throws(APIError) in
            try responses.turns(of: id)
        }
        let (chat, turns) = try ResponsesRequest.chat(body, after: previous ?? [])
        return ResponsePlan(
            chat: try plan(chat),
            head: ResponseHead(
                body, model: text.name, created: Int(Date().timeIntervalSince1970)),
            turns: turns, isStored: body["store"]?.bool ?? true,
            isInBackground: body["background"]?.bool ?? false)
    }

    /// Starts a response in the background.
    private func begin(_ plan: ResponsePlan, _ dialect: Responses) async throws -> Response {
        let streams = try await submit(plan.chat.requests)
        let (id, head) = (plan.head.id, plan.head)
        let started = head.response(.inProgress, output: [], cost: nil)
        do throws(APIError) {
            try responses.begin(id, started, turns: plan.turns) { [weak streams] in
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
                    error is CancellationError ? .cancelled : .failed(APIError(error))
                responses.end(
                    id, head.response(state, output: [], cost: nil), turns: plan.turns,
                    inBackground: true)
            }
        }
        return .json(started)
    }

    /// `GET`, `DELETE /v1/responses/{id}`, and `POST /v1/responses/{id}/cancel`.
    func response(_ id: String, _ request: Request) throws(APIError) -> Response {
        guard request.uri.queryParameters["stream"] != "true" else {
            throw .invalid(
                "stream is true: a stored response is read whole, with GET", parameter: "stream")
        }
        return try response(id)
    }

    private func response(_ id: String) throws(APIError) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: try responses.response(id))))
    }

    func deleteResponse(_ id: String) throws(APIError) -> Response {
        try responses.delete(id)
        return .json(["id": .string(id), "object": "response", "deleted": true])
    }

    /// Cancels a response in the background, and answers when it has ended.
    func cancelResponse(_ id: String) async throws -> Response {
        try responses.cancel(id)
        let deadline = ContinuousClock.now + Self.cancelLimit
        while ContinuousClock.now < deadline,
            try responses.isUnderWay(id)
        {
            try await Task.sleep(for: .milliseconds(5))
        }
        return try response(id)
    }

    /// A text ends in the step after it is cancelled.
    private static let cancelLimit = Duration.seconds(5)
}
