import Encoding
import Testing

@testable import Serving

@Suite struct TextTests {
    @Test func `a stop string split over pieces is found and nothing of it comes out`() {
        var scanner = StopScanner(["STOP", "END"])
        #expect(scanner.append("hello ST") == "hello ")
        #expect(scanner.append("ART ") == "START ")
        #expect(scanner.append("E") == "")
        #expect(scanner.append("N") == "")
        #expect(scanner.append("D more") == "")
        #expect(scanner.hasStopped && scanner.finish() == "")
    }

    @Test func `what only looked like a stop string comes out in the end`() {
        var scanner = StopScanner(["abc"])
        #expect(scanner.append("xab") == "x")
        #expect(scanner.finish() == "ab")
    }

    @Test(arguments: [
        "{", "[1,]", "{\"a\":1,\"a\":2}", "01", "1.", "\"\\ud800\"", "\"\u{1}\"", "nul", "1 2", "",
    ])
    func `what is not JSON is refused`(text: String) {
        #expect(throws: JSONError.self) { try JSONValue.parse(text) }
    }

    @Test func `JSON survives being read and written`() throws {
        let text = #"{"a":[1,2.5,-3e2,"é\"\\\n😀",null,true],"b":{"z":1,"a":{}}}"#
        #expect(try JSONValue.parse(text).text == text)
    }

    @Test func `random bytes never crash the parser`() {
        var random = SplitMix64(seed: 7)
        let alphabet = Array("{}[]\",:0123456789.eE+-tfn\\u \n".utf8)
        for _ in 0 ..< 20_000 {
            let count = Int.random(in: 0 ... 40, using: &random)
            let bytes = (0 ..< count).map { _ in alphabet.randomElement(using: &random)! }
            do { _ = try JSONValue.parse(bytes) } catch { continue }
        }
    }
}
