import Encoding
public import Foundation

extension ChatTemplate {
    /// Larger than any published template.
    private static let maximumFileBytes = 1 << 20

    /// The rules of a checkpoint's chats.
    ///
    /// The template is `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json`,
    /// a text or a list of named texts, as Transformers reads them. Its whole text is compared with
    /// the published ones, because models that share every marker differ in their rules.
    ///
    /// - Parameter style: Rules to follow whatever the files say.
    /// - Throws: `LanguageError.chat` for a checkpoint whose template is not known or missing,
    ///   `LanguageError.file` for a `tokenizer_config.json` that is not JSON.
    public init(directory: URL, named style: Style? = nil) throws(LanguageError) {
        if let style {
            self.init(style: style)
            return
        }
        var found: ChatTemplate?
        for (name, text) in try Self.texts(directory) {
            switch TemplateCatalog.rules(of: text) {
            case let rules? where found == nil || found == rules: found = rules
            case let rules?:
                throw .chat("\(name) is that of \(rules.style.rawValue), other than the default")
            case nil:
                throw .chat(
                    "\(name) (\(text.unicodeScalars.count) characters) is none of the chat "
                        + "templates that are known here")
            }
        }
        guard let found else {
            throw .chat(
                "\(directory.lastPathComponent) has no chat template: neither chat_template.jinja "
                    + "nor chat_template in tokenizer_config.json")
        }
        self = found
    }

    /// The templates that Transformers would choose from, and where each stands.
    ///
    /// Those of a list with other names than these are for purposes of their own.
    private static func texts(_ directory: URL) throws(LanguageError) -> [(String, String)] {
        let names = ["default", "tool_use"]
        var texts: [(String, String)] = []
        if let text = try file("chat_template.jinja", in: directory) {
            texts.append(("chat_template.jinja", text))
            let second = "additional_chat_templates/tool_use.jinja"
            if let text = try file(second, in: directory) { texts.append((second, text)) }
            return texts
        }
        let file = directory.appending(path: "tokenizer_config.json")
        guard let data = FileManager.default.contents(atPath: file.path) else { return [] }
        let value: JSONValue?
        do {
            var reader = JSONReader([UInt8](data))
            value = try reader.value()["chat_template"]
        } catch { throw .file(file.path, fact: "\(error)") }
        let place = "chat_template in tokenizer_config.json"
        if let text = value?.string { return [(place, text)] }
        for name in names {
            let entry = value?.array?.first { $0["name"]?.string == name }
            guard let text = entry?["template"]?.string else { continue }
            texts.append(("\(place), \(name),", text))
        }
        if let list = value?.array, texts.first?.0.contains("default") != true {
            throw .chat("\(place) is a list of \(list.count) without one named default")
        }
        return texts
    }

    private static func file(_ name: String, in directory: URL) throws(LanguageError) -> String? {
        let path = directory.appending(path: name).path
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        guard data.count <= maximumFileBytes else {
            throw .chat("\(name) has \(data.count) bytes; the limit is \(maximumFileBytes)")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw .chat("\(name) is not UTF-8")
        }
        return text
    }
}
