import Encoding
import Testing

@testable import Serving

/// Keys of maps, which their senders choose.
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
