import Encoding
import Foundation

/// A program with its arguments and its environment, not started yet.
public struct Command: Hashable, Sendable {
    /// The program, looked up in the search path, and its arguments.
    public var words: [String]
    /// Variables that are added to ours.
    public var environment: [String: String]
    /// Variables of ours that it does not get: those whose names begin so.
    public var hiddenPrefixes: [String] = []

    /// A command with the stated words and variables.
    public init(words: [String], environment: [String: String] = [:]) {
        self.words = words
        self.environment = environment
    }

    init(_ words: String...) { self.init(words: words) }

    /// This very program with its own arguments: what the ranks of a benchmark run.
    public static var ownCommand: Command {
        let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        return Command(
            words: [program.path(percentEncoded: false)]
                + CommandLine.arguments.dropFirst())
    }

    /// Far above what `ip` and `tc` take on a busy machine.
    public static let defaultLimit = Duration.seconds(30)

    /// As one would type it.
    var line: String { words.joined(separator: " ") }

    /// Ours, less what is hidden, with what is added.
    var wholeEnvironment: [String: String] {
        ProcessInfo.processInfo.environment
            .filter { name, _ in !hiddenPrefixes.contains { name.hasPrefix($0) } }
            .merging(environment) { $1 }
    }

    /// Runs the program to its end.
    ///
    /// - Parameter limit: The program is killed after it; nil waits as long as it takes.
    /// - Returns: What it wrote to standard output.
    /// - Throws: `ClusterError.command` with its standard error when it does not exit with 0;
    ///   `deadline` when it does not end in time.
    @discardableResult
    public func run(limit: Duration? = Command.defaultLimit) throws(ClusterError) -> String {
        let child = try Child(self, output: .captured)
        guard let end = child.wait(limit) else {
            child.end(within: Child.patience)
            let seconds = (limit ?? .zero).seconds
            throw .deadline("\(line) did not end within \(seconds) s")
        }
        let (output, errors) = child.captured()
        guard end.isSuccess else {
            let words = errors.split(separator: "\n").joined(separator: "; ")
            let how =
                switch end {
                case .exited(let status): "exit \(status)"
                case .killed(let signal): "killed by signal \(signal)"
                }
            throw .command("\(line): \(how)\(words.isEmpty ? "" : ": \(words)")")
        }
        return output
    }
}
