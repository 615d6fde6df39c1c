import Encoding
import Hummingbird
import HummingbirdCore

extension OpenAIService {
    /// `POST /v1/messages`.
    func messages(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await understood(request, caller, shapes.messages) { body in
            do { return try self.plan(MessagesRequest.chat(body)) } catch let error as APIError {
                throw MessagesRequest.renamed(error)
            }
        }
        let id = String(nextID().rawValue, radix: 16)
        return try await answer(plan, caller, Messages(id: id, model: text.name))
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
