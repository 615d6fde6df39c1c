import Encoding
import Hummingbird
import HummingbirdCore

extension OpenAIService {
    /// `POST /v1/messages`.
    func messages(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await understood(request, caller, shapes.messages) {
            try self.messagesPlan($0)
        }
        return try await inWords(MessagesRequest.renamed) {
            let plan = try await self.withCalls(plan, for: caller.address)
            return try await self.answer(plan, caller, self.messagesDialect())
        }
    }

    /// How the Messages API writes an answer.
    func messagesDialect() -> Messages {
        Messages(id: String(nextID().rawValue, radix: 16), model: text.name)
    }

    /// What a request of the Messages API asks for.
    func messagesPlan(_ body: JSONValue) throws -> ChatPlan {
        do { return try plan(MessagesRequest.chat(body)) } catch let error as APIError {
            throw MessagesRequest.renamed(error)
        }
    }

    /// `POST /v1/messages/count_tokens`.
    func countTokens(_ request: Request, _ caller: Caller) async throws -> Response {
        try await understood(request, caller, shapes.countTokens) { body in
            do {
                let plan = try self.prompted(MessagesRequest.chat(body))
                return .json(["input_tokens": .number(plan.prompt.count)])
            } catch let error as APIError { throw MessagesRequest.renamed(error) }
        }
    }
}
