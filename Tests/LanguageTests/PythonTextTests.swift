import Encoding
import Testing

@testable import Language

/// What Python 3.13 prints for values that `json.loads` read.
@Suite struct PythonTextTests {
    /// A number, `json.dumps` of it, and `str` of it.
    private static let numbers = [
        ("1e3", "1000.0", "1000.0"), ("1.50", "1.5", "1.5"), ("1e-7", "1e-07", "1e-07"),
        ("0.0001", "0.0001", "0.0001"), ("0.00001234", "1.234e-05", "1.234e-05"),
        ("1e15", "1000000000000000.0", "1000000000000000.0"),
        ("9.68101923096981e15", "9681019230969810.0", "9681019230969810.0"),
        ("9007199254740993.0", "9007199254740992.0", "9007199254740992.0"),
        ("1e16", "1e+16", "1e+16"),
        ("123456789012345678.0", "1.2345678901234568e+17", "1.2345678901234568e+17"),
        ("1E400", "Infinity", "inf"), ("-1e400", "-Infinity", "-inf"), ("1e-400", "0.0", "0.0"),
        ("-0.0", "-0.0", "-0.0"), ("-0", "0", "0"), ("5e-324", "5e-324", "5e-324"),
        (
            "123456789012345678901234567890", "123456789012345678901234567890",
            "123456789012345678901234567890"
        ),
    ]

    @Test func `numbers are Python's`() throws {
        for (text, json, words) in Self.numbers {
            let value = try JSONValue.parse(text)
            #expect(value.spacedText == json && value.pythonText == words, "\(text)")
            #expect(JSONValue.array([value]).spacedText == "[\(json)]")
        }
    }

    @Test func `strings are escaped as by Python's json without ensure_ascii`() throws {
        let value = try JSONValue.parse(
            #"{"\u007f": "\u007f\b\f\u0001\u2028\u000b\u001f\t\"\\é/"}"#)
        #expect(
            value.spacedText
                == "{\"\u{7F}\": \"\u{7F}" + #"\b\f\u0001"# + "\u{2028}"
                + #"\u000b\u001f\t\"\\é/"}"#)
    }
}
