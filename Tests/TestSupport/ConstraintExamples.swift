import Encoding
public import Grammar

/// Constraints and a vocabulary that tests of grammars and of engines share.
public enum ConstraintExamples {
    /// Patterns that keep hundreds of ways alive at every byte.
    public static let wide = [
        #"^(\w?){1000}$"#, "^([a-z]+ ?){1,100}$", "^([a-z]?){100}$", "^(a|b|ab|.){500}$",
        "^(.?){1000}$", "^(" + String(repeating: "|", count: 900) + "[^x]){500}$",
    ]

    /// Needs more steps than a walk may take only to read single bytes.
    public static let dear: String = {
        let pairs = "ABCDEFGHIJKLMNOPQRSTUVWXYabcdefghijklmnopqrstuvwxy".map { "|[\($0)z]" }
        return "^(" + String(repeating: "|", count: 400) + pairs.joined() + "|ab|abc){500}$"
    }()

    public static func schema(_ pattern: String) -> OutputConstraint {
        .jsonSchema(#"{"type":"string","pattern":\#(JSONValue.quoted(pattern))}"#)
    }

    /// Single bytes, then a few longer tokens that cross the joints of JSON.
    public static let vocabulary = ConstraintVocabulary(
        bytes: (0 ... 255).map { [UInt8($0)] }
            + [
                "\"}", "{\"", "\": ", ", \"", "true", "null}", "hello", "12", "\",\"", "]}", " ",
                "né",
            ]
            .map { Array($0.utf8) } + [[]],
        endTokens: [268])
}
