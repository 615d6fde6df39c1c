import Encoding

extension TokenizerFile {
    /// Reads `added_tokens` and gives the vocabulary those it lacks.
    static func addedTokens(
        _ value: JSONValue?, _ vocabulary: inout Vocabulary
    ) throws -> [AddedTokens.Token] {
        guard let value, !value.isNull else { return [] }
        guard let entries = value.array else { throw TokenizerFault("added_tokens is not a list") }
        return try entries.enumerated().map { index, entry in
            guard let id = entry["id"]?.integer, let content = entry["content"]?.string else {
                throw TokenizerFault("added_tokens[\(index)] has no whole id and content")
            }
            for key in ["single_word", "lstrip", "rstrip"] where entry[key]?.bool == true {
                throw TokenizerFault(
                    "added token \"\(content.printable())\" has \(key), which is not supported")
            }
            let text = Array(content.utf8)
            if vocabulary.id(of: text) != id, let fault = vocabulary.insert(text, id: id) {
                throw TokenizerFault(fault)
            }
            return AddedTokens.Token(
                id: id, content: content, special: entry["special"]?.bool ?? false,
                normalized: entry["normalized"]?.bool ?? false)
        }
    }

    /// Reads what is put around a text.
    ///
    /// ByteLevel moves offsets only, which are not kept here.
    mutating func readPostProcessor(_ value: JSONValue, depth: Int = 0) throws {
        if value.isNull { return }
        switch value["type"]?.string {
        case "ByteLevel": return
        case "Sequence" where depth == 0:
            for processor in value["processors"]?.array ?? [] {
                try readPostProcessor(processor, depth: 1)
            }
        case "TemplateProcessing":
            guard prefix.isEmpty, suffix.isEmpty else {
                throw TokenizerFault("post_processor has two TemplateProcessing; one is supported")
            }
            try readTemplate(value)
        case let type:
            throw TokenizerFault(
                "post_processor \((type ?? "without type").printable()) is not supported")
        }
    }

    private mutating func readTemplate(_ value: JSONValue) throws {
        var sawText = false
        for piece in value["single"]?.array ?? [] {
            if piece["Sequence"]?["id"]?.string == "A", !sawText {
                sawText = true
                continue
            }
            guard let name = piece["SpecialToken"]?["id"]?.string,
                let ids = value["special_tokens"]?[name]?["ids"]?.array
            else {
                throw TokenizerFault("post_processor.single holds a piece that is not supported")
            }
            for id in ids {
                guard let id = id.integer, !vocabulary.text(id).isEmpty else {
                    throw TokenizerFault(
                        "post_processor token \"\(name.printable())\" has an id of no token")
                }
                if sawText { suffix.append(id) } else { prefix.append(id) }
            }
        }
        guard sawText else { throw TokenizerFault("post_processor.single leaves out the text") }
    }
}
