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
        let controls = "\u{2028}\u{2029}\u{7F}\u{B}\u{1}\r"
        #expect(try admits(one("set", [("word", "a\(controls)b", true), size])))
        // What ends a value is none of it.
        let end = form == .keyed ? "</arg_value>" : "</parameter>"
        if form != .marked {
            #expect(try !admits(one("set", [("word", "a\(end)b", true), size])))
        }
    }

    /// The state of a text along a constraint; nil where the text leaves it.
    private static func follow(
        _ ids: [Int], _ constraint: OutputConstraint, _ tokenizer: Tokenizer
    ) throws -> ConstrainedText? {
        let vocabulary = try #require(LazyVocabulary(tokenizer, endTokens: []).value)
        let compiled = try CompiledGrammars().compiled(constraint)
        var state = try ConstrainedText(compiled, vocabulary: vocabulary, maxNewTokens: .max)
        for id in ids {
            do { try state.append(id) } catch { return nil }
        }
        return state
    }

    @Test(arguments: [
        (CallForm.keyed, FreeCallTests.glm, "</arg_value>"),
        (.tagged, FreeCallTests.qwen, "</parameter>"),
        (.invoked, FreeCallTests.minimax, "</parameter>"),
        (.marked, FreeCallTests.marked, "</｜DSML｜parameter>"),
    ])
    func `a text does not spell the mark that ends it`(
        form: CallForm, tokens: [String], end: String
    ) throws {
        let folder = try FreeCallTests.folder(tokens)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let constraint = CallConstraint(tokenizer: tokenizer, form: form)
        let trigger = try #require(constraint.trigger)
        let rest = constraint.rest(of: Self.tools, atMost: nil)
        /// Whether a value may hold a text in tokens that are no marks.
        func admits(_ spelled: String) throws -> Bool {
            let call = Self.call(form, "set", [("word", "a%b", true), ("size", "1", false)])
            let parts = Self.calls(form, [call]).split(separator: "%")
                .map { tokenizer.encode(String($0), addSpecialTokens: false) }
            let middle = tokenizer.encode(
                spelled, addSpecialTokens: false, recogniseAddedTokens: false)
            let ids = parts[0] + middle + parts[1]
            let begin = try #require(ids.firstIndex(of: trigger))
            return try Self.follow(Array(ids[(begin + 1)...]), rest, tokenizer)?.isFinal == true
        }
        let most = String(end.dropLast())
        for text in ["</b>", most, "<" + most] { #expect(try admits(text), "\(text)") }
        for text in [end, "<" + end, "<</" + end + "\n"] { #expect(try !admits(text), "\(text)") }
    }

    @Test(arguments: [
        (CallForm.keyed, FreeCallTests.glm), (.tagged, FreeCallTests.qwen),
        (.invoked, FreeCallTests.minimax), (.marked, FreeCallTests.marked),
    ])
    func `choices are kept to where null or numbers stand beside them`(
        form: CallForm, tokens: [String]
    ) throws {
        let folder = try FreeCallTests.folder(tokens)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let constraint = CallConstraint(tokenizer: tokenizer, form: form)
        let trigger = try #require(constraint.trigger)
        func admits(_ schema: JSONValue, _ value: String, _ isText: Bool) throws -> Bool {
            let tool = Tool([
                "function": [
                    "name": "f",
                    "parameters": [
                        "$defs": ["W": ["type": "string", "enum": ["a", "b"]]],
                        "properties": ["v": schema], "required": ["v"],
                    ],
                ]
            ])
            let text = Self.calls(form, [Self.call(form, "f", [("v", value, isText)])])
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            let begin = try #require(ids.firstIndex(of: trigger))
            let rest = constraint.rest(of: [tool], atMost: nil)
            return try Self.follow(Array(ids[(begin + 1)...]), rest, tokenizer)?.isFinal == true
        }
        let schemas: [JSONValue] = [
            ["anyOf": [["type": "string", "enum": ["a", "b"]], ["type": "null"]]],
            ["type": ["string", "null"], "enum": ["a", .null]], ["enum": ["a", .null]],
            ["anyOf": [["$ref": "#/$defs/W"], ["const": .null]]],
        ]
        for schema in schemas {
            #expect(try admits(schema, "a", true) && admits(schema, "null", false), "\(schema)")
            #expect(try !admits(schema, "c", true) && !admits(schema, "1", false), "\(schema)")
        }
        let mixed: JSONValue = ["enum": ["a", 1, "2"]]
        #expect(try admits(mixed, "a", true) && admits(mixed, "1", false))
        #expect(try admits(mixed, "\"2\"", false) && !admits(mixed, "b", true))
        #expect(try !admits(mixed, "2", false) && !admits(["enum": [1, .null]], "2", false))
        let object: JSONValue = ["properties": ["x": ["type": "integer"]], "required": ["x"]]
        for schema in [object, ["allOf": [object]]] {
            #expect(try admits(schema, "{\"x\": 1}", false), "\(schema)")
            #expect(try !admits(schema, "{}", false) && !admits(schema, "x", true), "\(schema)")
        }
    }

    @Test func `a DeepSeek-V3_2 call without arguments may have an empty line`() throws {
        let folder = try FreeCallTests.folder(FreeCallTests.marked)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let constraint = CallConstraint(tokenizer: tokenizer, form: .marked)
        let rest = constraint.rest(of: Self.tools, atMost: nil)
        let trigger = try #require(constraint.trigger)
        for (lines, isAdmitted) in [("\n", true), ("\n\n", true), ("\n\n\n", false)] {
            let call = "<｜DSML｜invoke name=\"wait\">" + lines + "</｜DSML｜invoke>\n"
            let ids = tokenizer.encode(Self.calls(.marked, [call]), addSpecialTokens: false)
            let begin = try #require(ids.firstIndex(of: trigger))
            let state = try Self.follow(Array(ids[(begin + 1)...]), rest, tokenizer)
            #expect((state?.isFinal == true) == isAdmitted)
        }
    }

    /// Beside a response format the whole answer is a grammar.
    @Test func `Qwen3's calls follow one another up to the limit`() throws {
        let folder = try FreeCallTests.folder(FreeCallTests.qwen)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let constraint = CallConstraint(tokenizer: tokenizer, form: .object)
        let call = Self.call(.object, "wait", [])
        func state(_ text: String, atMost most: Int?) throws -> ConstrainedText? {
            try Self.follow(
                tokenizer.encode(text, addSpecialTokens: false),
                constraint.calls(of: Self.tools, atMost: most), tokenizer)
        }
        #expect(try state(call, atMost: 1)?.isFinal == true)
        #expect(try state(call + "\n", atMost: 1) == nil)
        for text in [call, call + "\n" + call, call + call + call] {
            #expect(try state(text, atMost: nil)?.isComplete == true)
        }
        #expect(try state(call + "\n\n" + call, atMost: nil) == nil)
    }

    @Test func `a tool that a form has no words for is refused by its name`() {
        func tool(_ name: String, _ properties: JSONValue) -> Tool {
            Tool(["function": ["name": .string(name), "parameters": ["properties": properties]]])
        }
        let good = tool("f-1", ["a b": ["enum": ["x", "</b>"]], "c": [:]])
        let choice = tool("f", ["c": ["enum": ["x", "y</parameter>"]]])
        for form in [CallForm.keyed, .tagged, .invoked, .marked] {
            #expect(good.fault(in: form) == nil)
            #expect(tool("my tool", [:]).fault(in: form)?.contains("\"my tool\"") == true)
            #expect(tool("f>", [:]).fault(in: form) != nil)
            let isCut = form == .tagged || form == .invoked
            #expect((choice.fault(in: form)?.contains("</parameter>") == true) == isCut)
            let key = tool("f", ["a\"b": ["type": "integer"]])
            #expect((key.fault(in: form) == nil) == (form == .keyed))
        }
        let key = tool("f", ["a</arg_key>": ["type": "integer"]])
        #expect(key.fault(in: .keyed)?.contains("</arg_key>") == true)
        #expect(tool("my tool", [:]).fault(in: .object) == nil)
        // The parser ends a name there, so the call would stay content.
        for form in [CallForm.fenced, .bare, .numbered] {
            for name in ["my tool", "my\u{2003}tool", "f`", "f{", "<f"] {
                #expect(tool(name, [:]).fault(in: form)?.contains("the name of tool") == true)
            }
            #expect(tool("functions.a:b-ü", ["a\"b": [:]]).fault(in: form) == nil)
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
