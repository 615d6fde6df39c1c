import Encoding
import Language
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

    @Test func `thought, content and calls are told apart, however the text is cut`() {
        let text =
            "<think>hm\nwell</think>\n\nSure.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
            + "<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>sub"
            + "<｜tool▁sep｜>{\"b\": 2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        for size in [1, 2, 3, 7, 1000] {
            var parser = AnswerParser(beginsThinking: false, findsCalls: true)
            var pieces: [AnswerParser.Piece] = []
            var rest = Substring(text)
            while !rest.isEmpty {
                pieces += parser.append(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            pieces += parser.finish()
            var reasoning = ""
            var content = ""
            var calls: [AnswerParser.Piece] = []
            for piece in pieces {
                switch piece {
                case .reasoning(let text): reasoning += text
                case .content(let text): content += text
                case .call: calls.append(piece)
                }
            }
            #expect(reasoning == "hm\nwell" && content == "Sure.", "pieces of \(size)")
            #expect(
                calls == [
                    .call(name: "add", arguments: "{\"a\": 1}"),
                    .call(name: "sub", arguments: "{\"b\": 2}"),
                ])
        }
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
