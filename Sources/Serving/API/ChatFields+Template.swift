import Encoding

extension ChatFields {
    /// What the template's own switch for thoughts was set to, under either of its names.
    static func templateSwitch(_ body: JSONValue) -> Bool? {
        let keywords = body["chat_template_kwargs"]
        return keywords?["thinking"]?.bool ?? keywords?["enable_thinking"]?.bool
    }
}
