import Foundation

/// Small files of the kernel below one folder.
package struct SystemFiles: Sendable {
    private let root: String

    /// The files of this machine, or of a folder that holds its own `proc` and `sys`.
    package init(root: String = "/") { self.root = root }

    private func path(_ name: String) -> String {
        root.hasSuffix("/") ? root + name : "\(root)/\(name)"
    }

    /// The text of a file without space around it; nil where it cannot be read.
    package func text(_ name: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path(name)) else { return nil }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// What a folder holds, in order; empty where there is none.
    package func names(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path(folder))) ?? []).sorted()
    }

    /// Whether a file or folder is there.
    func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
}

extension SystemFiles {
    /// The number that follows a name in a file of lines, as `MemTotal: 16 kB`.
    package func number(_ name: String, in file: String) -> Int? {
        text(file)?.split(separator: "\n").first { $0.hasPrefix(name) }?
            .dropFirst(name.count).split { $0.isWhitespace || $0 == ":" }.first
            .flatMap { Int($0) }
    }
}
