import Encoding
import Testing

/// One parser for hostile bytes, and what it makes of them.
@Suite struct JSONValueTests {
    @Test(arguments: [
        #"{"b":[1,-2.5e3,true,false,null],"a":"x"}"#, #"[]"#, #""\"\\\n""#, "12345678901234567890",
    ])
    func `a value is written as it was read`(text: String) throws {
        #expect(try JSONValue.parse(text).text == text)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":}", "01", "1.", "tru", "\"a", "\"\\u12\"", "1 2", "nan",
        "\"\u{1}\"",
    ])
    func `what is no document is refused at its byte`(text: String) {
        #expect(throws: JSONError.self) { try JSONValue.parse(text) }
    }

    @Test func `nesting deeper than the limit is refused, and at the limit is read`() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(try JSONValue.parse(nested(JSONReader.depthLimit)).array?.count == 1)
        #expect(throws: JSONError.self) { try JSONValue.parse(nested(JSONReader.depthLimit + 1)) }
    }

    @Test func `a number keeps its digits, and is whole only where it is`() throws {
        #expect(try JSONValue.parse("9007199254740993").integer == 9_007_199_254_740_993)
        #expect(try JSONValue.parse("3.0").integer == 3)
        #expect(try JSONValue.parse("1e2").integer == 100)
        #expect(try JSONValue.parse("3.5").integer == nil)
        #expect(try JSONValue.parse("1e999").double == nil)
    }

    @Test func `text from outside becomes one short line`() {
        #expect("a\nb\u{1b}[2J".printable() == "a?b?[2J")
        #expect(String(repeating: "x", count: 200).printable(limit: 3) == "xxx...")
    }
}
