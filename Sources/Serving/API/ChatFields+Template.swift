import Encoding

extension ChatFields {
    /// What the template's own switch for thoughts was set to, under either of its names.
    static func templateSwitch(_ body: JSONValue) -> Bool? {
        let keywords = body["chat_template_kwargs"]
        return keywords?["thinking"]?.bool ?? keywords?["enable_thinking"]?.bool
    }

    /// Whether the thoughts of all earlier answers are to stay in the prompt, by whichever of its
    /// names a client says it.
    ///
    /// - Throws: 400 where the names contradict each other.
    static func keepsThoughts(_ body: JSONValue) throws(APIError) -> Bool {
        let keywords = body["chat_template_kwargs"]
        let keeps = keywords?["preserve_thinking"]?.bool
        let clears = keywords?["clear_thinking"]?.bool
        guard keeps == nil || keeps != clears else {
            throw .invalid(
                "chat_template_kwargs.preserve_thinking and chat_template_kwargs.clear_thinking "
                    + "contradict each other: one keeps the thoughts of earlier answers",
                parameter: "chat_template_kwargs.clear_thinking")
        }
        return keeps ?? !(clears ?? true)
    }

    /// The day that the prompt is to say.
    ///
    /// - Throws: 400 for what is not written as `2025-06-28`.
    static func date(_ body: JSONValue) throws(APIError) -> String? {
        guard let text = body["chat_template_kwargs"]?["current_date"]?.string else { return nil }
        let parts = text.utf8.split(
            separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        let isDate =
            parts.map(\.count) == [4, 2, 2]
            && parts.joined().allSatisfy { (0x30 ... 0x39).contains($0) }
        guard isDate else {
            throw .invalid(
                "chat_template_kwargs.current_date is \(JSONValue.quoted(text)): a day is written "
                    + "as 2025-06-28", parameter: "chat_template_kwargs")
        }
        return text
    }
}
