import Encoding
import Foundation
import Grammar
import Language
import Testing

@testable import Serving

/// The grammar of calls, followed along calls that are written by hand.
@Suite struct CallGrammarTests {
    private static let tools = [
        Tool([
            "function": [
                "name": "set",
                "parameters": [
                    "type": "object",
                    "properties": [
                        "word": ["type": "string"], "size": ["type": "integer", "maximum": 7],
                        "kind": ["enum": ["a", "b"]],
                        "note": ["anyOf": [["type": "string"], ["type": "null"]]], "any": [:],
                    ], "required": ["word", "size"],
                ],
            ]
        ]), Tool(["function": ["name": "wait"]]),
    ]

    /// One argument, and whether it is text.
    private typealias Member = (key: String, value: String, isText: Bool)

    /// A call as the form writes it.
    private static func call(_ form: CallForm, _ name: String, _ members: [Member]) -> String {
        let mark = "｜DSML｜"
        func all(_ write: (Member) -> String) -> String { members.map(write).joined() }
        switch form {
        case .keyed:
            return "<tool_call>\(name)"
                + all { "<arg_key>\($0.key)</arg_key><arg_value>\($0.value)</arg_value>" }
                + "</tool_call>"
        case .tagged:
            return "<tool_call>\n<function=\(name)>\n"
                + all { "<parameter=\($0.key)>\n\($0.value)\n</parameter>\n" }
                + "</function>\n</tool_call>"
        case .invoked:
            return "<invoke name=\"\(name)\">\n"
                + all { "<parameter name=\"\($0.key)\">\($0.value)</parameter>\n" } + "</invoke>\n"
        case .marked:
            return "<\(mark)invoke name=\"\(name)\">\n"
                + all {
                    "<\(mark)parameter name=\"\($0.key)\" string=\"\($0.isText)\">\($0.value)"
                        + "</\(mark)parameter>\n"
                } + "</\(mark)invoke>\n"
        default:
            let body = members.map { key, value, isText in
                "\"\(key)\": " + (isText ? "\"\(value)\"" : value)
            }
            return "<tool_call>\n{\"name\": \"\(name)\", \"arguments\": {"
                + body.joined(separator: ", ") + "}}\n</tool_call>"
        }
    }

    /// Calls as the form writes them in one answer.
    private static func calls(_ form: CallForm, _ calls: [String]) -> String {
        let body = calls.joined()
        return switch form {
        case .invoked: "<minimax:tool_call>\n" + body + "</minimax:tool_call>"
        case .marked: "<｜DSML｜function_calls>\n" + body + "</｜DSML｜function_calls>"
        default: body
        }
    }

    @Test(arguments: [
        (CallForm.keyed, FreeCallTests.glm), (.tagged, FreeCallTests.qwen),
        (.object, FreeCallTests.qwen), (.invoked, FreeCallTests.minimax),
        (.marked, FreeCallTests.marked),
    ])
    func `a grammar admits the calls of its form and no others`(
        form: CallForm, tokens: [String]
    ) throws {
        let folder = try FreeCallTests.folder(tokens)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let vocabulary = try #require(LazyVocabulary(tokenizer, endTokens: []).value)
        let constraint = CallConstraint(tokenizer: tokenizer, form: form)
        let trigger = try #require(constraint.trigger)
        let compiled = try CompiledGrammars().compiled(
            constraint.rest(of: Self.tools, atMost: nil))
        /// Whether the text after the trigger follows the grammar to an end.
        func admits(_ text: String) throws -> Bool {
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            let begin = try #require(ids.firstIndex(of: trigger))
            var state = try ConstrainedText(compiled, vocabulary: vocabulary, maxNewTokens: .max)
            for id in ids[(begin + 1)...] {
                do { try state.append(id) } catch { return false }
            }
            return state.isFinal
        }
        let word: Member = ("word", "Zürich <b>", true)
        let size: Member = ("size", "-3", false)
        func one(_ name: String, _ members: [Member]) -> String {
            Self.calls(form, [Self.call(form, name, members)])
        }
        #expect(try admits(one("set", [word, size])))
        #expect(try admits(one("wait", [])))
        #expect(
            try admits(one("set", [word, size, ("kind", "b", true), ("note", "null", false)])))
        #expect(try admits(one("set", [word, size, ("any", "[1, {\"a\": null}]", false)])))
        for wrong in [
            one("other", []), one("set", []), one("set", [size]), one("wait", [word]),
            one("set", [word, ("size", "8", false)]), one("set", [word, ("size", "x", false)]),
            one("set", [word, size, ("kind", "c", true)]), one("set", [word, size, size]),
        ] { #expect(try !admits(wrong), "\(wrong)") }
        if form == .marked || form == .invoked {
            let several = [Self.call(form, "wait", []), Self.call(form, "set", [word, size])]
            #expect(try admits(Self.calls(form, several)))
            #expect(try !admits(Self.calls(form, [])))
        }
        guard form != .object else { return }
        #expect(try admits(one("set", [("word", "two\nlines\n\n</para", true), size])))
        // What ends a value is none of it.
        let end = form == .keyed ? "</arg_value>" : "</parameter>"
        if form != .marked {
            #expect(try !admits(one("set", [("word", "a\(end)b", true), size])))
        }
    }

    @Test func `GLM-4_5's calls have a line for each part`() throws {
        let folder = try FreeCallTests.folder(FreeCallTests.glm)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let vocabulary = try #require(LazyVocabulary(tokenizer, endTokens: []).value)
        let constraint = CallConstraint(tokenizer: tokenizer, form: .keyed)
        let compiled = try CompiledGrammars().compiled(
            constraint.rest(of: Self.tools, atMost: nil))
        var state = try ConstrainedText(compiled, vocabulary: vocabulary, maxNewTokens: .max)
        let text =
            "set\n<arg_key>word</arg_key>\n<arg_value>a</arg_value>\n<arg_key>size</arg_key>\n"
            + "<arg_value>1</arg_value>\n</tool_call>"
        for id in tokenizer.encode(text, addSpecialTokens: false) { try state.append(id) }
        #expect(state.isFinal)
    }
}
