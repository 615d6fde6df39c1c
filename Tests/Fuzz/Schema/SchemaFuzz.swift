import Encoding
import Foundation
import Glibc
import TestSupport

@testable import Grammar

/// Compiles random schemas and follows their grammars, with cost as the target.
///
/// Usage: SchemaFuzz [COUNT (1000000)] [SEED (1)]. Fails at a schema whose compilation takes more
/// processor time or memory than the bound for its length, or whose walks take more than theirs.
@main enum SchemaFuzz {
    /// Seconds that a compilation may take, whatever the schema, and those per byte of it.
    static let baseSeconds = 0.25
    static let secondsPerByte = 20e-6
    /// Seconds for a walk of two hundred bytes, each of them one of 256 that were tried.
    static let walkSeconds = 10.0

    static func main() {
        let arguments = CommandLine.arguments.dropFirst().compactMap { Int($0) }
        let count = arguments.first ?? 1_000_000
        let seed = arguments.dropFirst().first ?? 1
        var schemas = RandomSchema(seed: UInt64(seed))
        var (taken, worst, worstPerByte, mostBytes) = (0, 0.0, 0.0, 0)
        var worstText = ""
        for index in 0 ..< count {
            let text = schemas.next().text
            let result = measure(text)
            taken += result.isTaken ? 1 : 0
            mostBytes = max(mostBytes, result.bytes)
            worstPerByte = max(worstPerByte, result.seconds / Double(text.utf8.count))
            if result.seconds > worst { (worst, worstText) = (result.seconds, text) }
            let limit = baseSeconds + secondsPerByte * Double(text.utf8.count)
            guard result.seconds <= limit, result.walkSeconds <= walkSeconds,
                result.bytes <= result.byteLimit
            else {
                print("schema \(index) of seed \(seed) is above its bound: \(result)\n\(text)")
                exit(1)
            }
            if (index + 1) % 100_000 == 0 { print("\(index + 1) schemas, \(taken) taken") }
        }
        print(
            "\(count) schemas, \(taken) taken; the dearest took \(worst) s "
                + "(\(worstText.utf8.count) bytes), per byte \(worstPerByte) s; "
                + "\(mostBytes) bytes at most")
        print("dearest: \(worstText.prefix(2000))")
    }

    private struct Cost {
        var isTaken = false
        var seconds = 0.0
        var walkSeconds = 0.0
        var bytes = 0
        var byteLimit = 0
    }

    private static func measure(_ text: String) -> Cost {
        var cost = Cost()
        let budget = CompilationBudget(textBytes: text.utf8.count)
        cost.byteLimit = budget.byteLimit
        let heap = peakBytes()
        let begun = processorSeconds()
        var builder = GrammarBuilder(budget)
        var grammar: Grammar?
        if let start = try? SchemaCompiler.rule(text, &builder) {
            grammar = try? Grammar(start: start, builder)
        }
        cost.seconds = processorSeconds() - begun
        cost.bytes = peakBytes() - heap
        guard let grammar else { return cost }
        cost.isTaken = true
        let walkBegun = processorSeconds()
        walk(grammar)
        cost.walkSeconds = processorSeconds() - walkBegun
        return cost
    }

    private static func walk(_ grammar: Grammar) {
        let automaton = GrammarAutomaton(grammar)
        var id = automaton.id(of: GrammarState(grammar))
        for count in 0 ..< 24 {
            var walk = automaton.walk()
            let probes: [UInt8] = Array("\"{}[],:abe0129-.@ T".utf8) + [0xC3, 0xE2]
            let ways = probes.compactMap { automaton.next(id, byte: $0, &walk) }
            guard !ways.isEmpty else { return }
            id = ways[count % ways.count]
        }
    }

    /// The most memory that this process ever held: it grows with a schema that needs more.
    private static func peakBytes() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
