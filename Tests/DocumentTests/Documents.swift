import Foundation

/// The documents of the repository, and the sources that they describe.
enum Documents {
    /// The repository's root, found from this file's place.
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "../..").standardized

    /// Every Markdown file that people wrote.
    static let all =
        files(endings: ["md"], under: ["docs", "Sources", "Tests", "Examples"])
        + children(of: "").filter { $0.pathExtension == "md" }

    /// Swift and C files of the product.
    static let product = files(endings: ["swift", "c", "h"], under: ["Sources"])

    /// The text of a file, by its path below the root.
    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The path below the root, for messages.
    static func name(of file: URL) -> String {
        String(file.path(percentEncoded: false).dropFirst(root.path(percentEncoded: false).count))
    }

    /// What the first column of a page's tables names in backquotes, in the order of the page.
    static func namesInTables(of page: String) throws -> [String] {
        try text(page).split(separator: "\n").compactMap { line in
            line.prefixMatch(of: /\| `([^`]+)`/).map { String($0.1) }
        }
    }

    /// Runs a Python script of the repository and returns its exit code and all that it wrote.
    static func run(
        _ script: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> (code: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["python3", root.appending(path: script).path(percentEncoded: false)]
            + arguments
        process.currentDirectoryURL = root
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let words = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: words, as: UTF8.self))
    }

    /// Files below folders of the root, in the order of their paths.
    static func files(endings: Set<String>, under folders: [String]) -> [URL] {
        folders.flatMap { folder -> [URL] in
            let walk = FileManager.default.enumerator(
                at: root.appending(path: folder), includingPropertiesForKeys: nil)
            return (walk?.allObjects as? [URL] ?? []).filter { endings.contains($0.pathExtension) }
        }.sorted { $0.path(percentEncoded: false) < $1.path(percentEncoded: false) }
    }

    private static func children(of folder: String) -> [URL] {
        let found = try? FileManager.default.contentsOfDirectory(
            at: root.appending(path: folder), includingPropertiesForKeys: nil)
        return (found ?? []).sorted {
            $0.path(percentEncoded: false) < $1.path(percentEncoded: false)
        }
    }
}
