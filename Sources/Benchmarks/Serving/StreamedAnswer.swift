import Encoding
import NIOCore

/// Reads the answer to a streamed completion or chat, part by part.
struct StreamedAnswer {
    private var reader = EventStreamReader()
    private var status = 0
    private var isDone = false
    private var trouble = ""
    /// Tokens of the answer, where the server was asked to count them.
    private(set) var tokens = 0

    /// Takes a part of the answer, and hands over each piece of text in it.
    ///
    /// - Throws: What `piece` throws, and `JSONError` for an event that is not JSON.
    mutating func take(_ part: HTTPConnection.Part, piece: (String) throws -> Void) throws {
        switch part {
        case .status(let code): status = code
        case .body(let bytes):
            if status != 200 { trouble += String(buffer: bytes) }
            for event in reader.append(bytes) {
                if event == "[DONE]" {
                    isDone = true
                    continue
                }
                let chunk = try JSONValue.parse(event)
                tokens = chunk["usage"]?["completion_tokens"]?.integer ?? tokens
                if let error = chunk["error"]?["message"]?.string { trouble = error }
                let choice = chunk["choices"]?.array?.first
                let text = choice?["text"]?.string ?? choice?["delta"]?["content"]?.string
                if let text { try piece(text) }
            }
        }
    }

    /// Notes what ended the connection; without effect once the answer is whole.
    mutating func fail(_ error: any Error) { if !isDone { trouble = "\(error)" } }

    /// Why the answer is not whole, with what the server said; nil if it is.
    var failure: String? {
        guard status != 200 || !isDone || !trouble.isEmpty else { return nil }
        let end = isDone ? "" : ", no [DONE]"
        return "status \(status)\(end): \(trouble.prefix(200))"
    }
}
