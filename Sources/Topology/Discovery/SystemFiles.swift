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
    ///
    /// The kernel gives a file of `proc` in parts of at most a page, and says 0 for its size.
    /// Foundation's reading of a whole file ends at the first short part, so this reads until
    /// nothing comes.
    package func text(_ name: String) -> String? {
        guard let file = FileHandle(forReadingAtPath: path(name)), let data = try? file.readToEnd()
        else { return nil }
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
    /// The first word behind a name at the beginning of a line, as `16` in `MemTotal: 16 kB`.
    package func word(_ name: String, in file: String) -> Substring? {
        text(file)?.split(separator: "\n").first { $0.hasPrefix(name) }?
            .dropFirst(name.count).split { $0.isWhitespace || $0 == ":" }.first
    }

    /// The number that follows a name in a file of lines, as `MemTotal: 16 kB`.
    package func number(_ name: String, in file: String) -> Int? {
        word(name, in: file).flatMap { Int($0) }
    }

    /// Bytes that a process holds in memory now; 0 for one that is gone.
    ///
    /// - Parameter process: Its id, or `self`.
    package func residentBytes(of process: String) -> Int {
        number("VmRSS:", in: "proc/\(process)/status").map { $0 << 10 } ?? 0
    }
}
