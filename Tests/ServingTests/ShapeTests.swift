import Encoding
import Testing

@testable import Serving

/// What a shape says of values that it refuses, and keys of maps, which their senders choose.
@Suite struct ShapeTests {
    @Test func `keys of a map have a limit, which the schema states`() throws {
        let shape = Shape.map(.integer(0 ... 9), limit: 2, keyLength: 3)
        try shape.check(["abc": 1, "ŝğé": 2], at: "m")
        let long = #expect(throws: APIError.self) { try shape.check(["abcd": 1], at: "m") }
        #expect(long?.message == "a key of m has 4 characters: the limit is 3")
        #expect(long?.parameter == "m" && long?.status == 400)
        let other = #expect(throws: APIError.self) { try shape.check(["abc": 10], at: "m") }
        #expect(other?.parameter == "m.abc")
        #expect(shape.schema["propertyNames"] == ["maxLength": 3])
        #expect(shape.schema["maxProperties"] == 2)
    }

    /// A prompt may be a text, tokens, or a list of either.
    @Test(arguments: [
        ("[2048]", "prompt[0] is 2048: it must lie in 0...2047"),
        ("[7, -1]", "prompt[1] is -1: it must lie in 0...2047"),
        ("[1.5]", "prompt[0] must be an integer, not 1.5"),
        (#"["a", 1]"#, "prompt[1] must be a string, not 1"),
        (#"[[1], "a"]"#, #"prompt[1] must be an array of a number, not "a""#),
        ("[[7, 2048]]", "prompt[0][1] is 2048: it must lie in 0...2047"),
        ("[]", "prompt is 0 elements: it must lie in 1...256"),
        ("[[]]", "prompt[0] is 0 elements: it must lie in 1...1048576"),
        (
            "[\(Array(repeating: "\"a\"", count: 257).joined(separator: ","))]",
            "prompt is 257 elements: it must lie in 1...256"
        ),
        ("[true]", "prompt must be a string or an array of"),
        ("{}", "prompt must be a string or an array of"),
    ])
    func `an error is of the shape that the value means`(prompt: String, words: String) throws {
        let body = JSONValue.object([("prompt", try JSONValue.parse(prompt))])
        let error = #expect(throws: APIError.self) {
            try MemberTests.shapes.completion.check(body, at: "")
        }
        #expect(error?.message.hasPrefix(words) == true, "\(error?.message ?? "")")
    }

    /// OpenAI: 16 pairs, keys of 64 characters, values of 512.
    @Test(arguments: [(64, 512, true), (65, 1, false), (1, 513, false)])
    func `metadata of a batch are as long as OpenAI's`(
        key: Int, value: Int, isTaken: Bool
    ) throws {
        let metadata = JSONValue.object([
            (String(repeating: "k", count: key), .string(String(repeating: "v", count: value)))
        ])
        let body = JSONValue.object([
            ("input_file_id", "file-1"), ("endpoint", "/v1/completions"),
            ("completion_window", "24h"), ("metadata", metadata),
        ])
        let refusal = Result<Void, any Error> { try MemberTests.shapes.batch.check(body, at: "") }
        switch refusal {
        case .success: #expect(isTaken)
        case .failure(let error): #expect(!isTaken && "\(error)".contains("metadata"), "\(error)")
        }
    }

    /// What quotes a key never repeats one of megabytes.
    @Test func `a long key is not repeated`() throws {
        let key = String(repeating: "k", count: 1000)
        let error = #expect(throws: APIError.self) {
            try Shape.map(.null, limit: 1).check(.object([(key: key, value: .number(1))]), at: "m")
        }
        #expect((error?.message.utf8.count ?? .max) < 200)
    }
}
