import Foundation
import Testing

@testable import Language

/// Time must be linear in the text whatever it holds: a line of 10 MB is an ordinary input.
///
/// `APUS_TOKENIZER` may name a checkpoint's directory to measure another tokenizer.
@Suite(.serialized) struct TokenizerSpeedTests {
    static let lines: [(name: String, text: @Sendable (Int) -> String)] = [
        (
            "prose",
            { repeated("Once upon a time, Lily and Tom didn't go to the park 12345 times.", $0) }
        ),
        ("letters", { random($0, "abcdefghijklmnopqrstuvwxyz") }),
        ("one letter", { repeated("a", $0) }),
        ("spaces", { repeated(" ", $0) }),
        ("newlines", { repeated("\n", $0) }),
        ("spaces and newlines", { random($0, " \n\t") }),
        ("punctuation", { random($0, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~") }),
        ("digits", { random($0, "0123456789") }),
        ("marks", { "a" + repeated("\u{301}", $0) }),
        ("ideographs", { random($0, "的一是在不了有和人这中大为上个国我以要他") }),
        ("angle brackets", { repeated("<｜", $0) }),
        ("control characters", { repeated("\u{0}\u{1}", $0) }),
    ]

    @Test(arguments: lines.indices)
    func `a line of megabytes is encoded at 2 MB/s of one core`(index: Int) throws {
        var tokenizer = try TokenizerTests.tokenizer()
        if let file = ProcessInfo.processInfo.environment["APUS_TOKENIZER"] {
            tokenizer = try Tokenizer(directory: URL(filePath: file))
        }
        let megabytes = index < 2 ? 10 : 2
        let text = Self.lines[index].text(megabytes * 1_000_000)
        let start = threadSeconds()
        let count = tokenizer.encode(text).count
        let seconds = threadSeconds() - start
        print("\(Self.lines[index].name): \(count) tokens, \(Double(megabytes) / seconds) MB/s")
        #expect(seconds < Double(megabytes) / 2)
    }

    /// Seconds this thread has computed: other tests run beside this one.
    private func threadSeconds() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private static func repeated(_ unit: String, _ byteCount: Int) -> String {
        String(repeating: unit, count: byteCount / unit.utf8.count)
    }

    private static func random(_ byteCount: Int, _ alphabet: String) -> String {
        let units = Array(alphabet)
        var generator = SystemRandomNumberGenerator()
        let size = units[0].utf8.count
        return String((0 ..< byteCount / size).map { _ in units.randomElement(using: &generator)! })
    }
}
