import Foundation

/// Runs a script of `Tests/Reference` and returns what it printed.
///
/// - Throws: `ReferenceFailure` if no interpreter is named by `APUS_PYTHON` or the script fails.
public func python(_ script: String, _ arguments: [String]) throws -> String {
    guard let interpreter = ProcessInfo.processInfo.environment["APUS_PYTHON"] else {
        throw ReferenceFailure(fact: "APUS_PYTHON names no interpreter (make test sets it)")
    }
    let process = Process()
    let file = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Reference/\(script)").standardized
    let pipe = Pipe()
    process.executableURL = URL(filePath: interpreter)
    process.arguments = [file.path] + arguments
    process.standardOutput = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw ReferenceFailure(fact: "\(script) ended with \(process.terminationStatus)")
    }
    return String(decoding: output, as: UTF8.self)
}

/// Why an independent reference gave no answer.
public struct ReferenceFailure: Error {
    /// The fact, in one line.
    public let fact: String
}

/// The seed of random cases that a reference computes: `APUS_SEED`, else 1, so that two runs of
/// one tree test the same. It is printed, so that also a test that ends by an error names it.
///
/// - Throws: `ReferenceFailure` where `APUS_SEED` is no number.
public func referenceSeed() throws -> Int {
    let text = ProcessInfo.processInfo.environment["APUS_SEED"] ?? "1"
    guard let seed = Int(text) else {
        throw ReferenceFailure(fact: "APUS_SEED=\(text) is no number: set one, or none for 1")
    }
    print("APUS_SEED=\(seed)")
    return seed
}
