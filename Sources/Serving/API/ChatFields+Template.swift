import Encoding

extension ChatFields {
    /// What the template's own switch for thoughts was set to, under either of its names.
    static func templateSwitch(_ body: JSONValue) -> Bool? {
        let keywords = body["chat_template_kwargs"]
        return keywords?["thinking"]?.bool ?? keywords?["enable_thinking"]?.bool
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
