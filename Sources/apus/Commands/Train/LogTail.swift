import Foundation

/// The lines that are added to a file while a job writes it.
///
/// Safe because only the launcher's watching thread calls it.
final class LogTail: @unchecked Sendable {
    private let path: String
    private var offset: UInt64
    private var rest = Data()

    /// Begins at the end of what is there.
    init(_ path: String) {
        self.path = path
        offset = 0
        if let handle = FileHandle(forReadingAtPath: path) {
            offset = (try? handle.seekToEnd()) ?? 0
            try? handle.close()
        }
    }

    /// The lines that were finished since the last call.
    func new() -> [String] {
        guard let handle = FileHandle(forReadingAtPath: path) else { return [] }
        defer { try? handle.close() }
        guard (try? handle.seek(toOffset: offset)) != nil,
            let bytes = try? handle.readToEnd(), !bytes.isEmpty
        else { return [] }
        offset += UInt64(bytes.count)
        rest += bytes
        guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
        let whole = rest[...end]
        rest = Data(rest[(end + 1)...])
        return String(decoding: whole, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
