import Foundation

/// The files of the repository, as the house rules see them.
enum HouseFiles {
    /// The repository's root, found from this file's place.
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "../..").standardized

    /// Swift files of the product and its tests.
    static let swift =
        files(under: "Sources", endings: ["swift"])
        + files(under: "Tests", endings: ["swift"])

    /// Swift files of the product alone.
    static let product = files(under: "Sources", endings: ["swift"])

    /// Everything people wrote to be compiled or run.
    static let code = swift + python + others

    /// Scripts of the tests and examples.
    static let python = ["Tests", "Examples"].flatMap { files(under: $0, endings: ["py"]) }

    private static let others = ["Sources", "Tests"].flatMap {
        files(under: $0, endings: ["c", "h", "cpp", "js"])
    }

    /// YAML and JSON that the product reads from its data folders.
    static let data =
        files(under: "cluster", endings: ["yaml", "json"])
        + files(under: "topology", endings: ["yaml", "json"])

    /// Pages for people.
    static let pages =
        readmes + ["docs", "Examples"].flatMap { files(under: $0, endings: ["md"]) }
        + ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map { root.appending(path: $0) }

    /// One page for each room, and the README.
    static let readmes =
        files(under: "Sources", endings: ["md"]) + [root.appending(path: "README.md")]

    /// Every file of the folders that people write in, whatever it holds.
    static let everything = ["Sources", "Tests", "cluster", "topology", "docs", "Examples"]
        .flatMap { files(under: $0, endings: nil) }

    /// Folders of `Sources` that are rooms and not programs.
    static let rooms = children(of: "Sources").filter { !$0.lastPathComponent.hasPrefix("apus") }

    /// The lines of one file, empty ones included.
    static func lines(of file: URL) throws -> [Substring] {
        try String(contentsOf: file, encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The path below the root, for messages.
    static func name(of file: URL) -> String {
        String(file.path(percentEncoded: false).dropFirst(root.path(percentEncoded: false).count))
    }

    private static func files(under folder: String, endings: [String]?) -> [URL] {
        let walk = FileManager.default.enumerator(
            at: root.appending(path: folder), includingPropertiesForKeys: nil)
        return (walk?.allObjects as? [URL] ?? [])
            .filter { endings?.contains($0.pathExtension) ?? !$0.hasDirectoryPath }
            .sorted { $0.path(percentEncoded: false) < $1.path(percentEncoded: false) }
    }

    private static func children(of folder: String) -> [URL] {
        let all = try? FileManager.default.contentsOfDirectory(
            at: root.appending(path: folder), includingPropertiesForKeys: nil)
        return (all ?? []).sorted {
            $0.path(percentEncoded: false) < $1.path(percentEncoded: false)
        }
    }
}
