import Foundation

/// The logs of a job's processes as one, in the order of their times.
///
/// A line without a time belongs to the line before it. Lines are read as they are needed, so that
/// long logs cost no memory.
public struct JobLogs {
    private let folder: JobFolder
    private let process: String?
    private var readers: [LogReader] = []
    private var known: Set<String> = []

    /// The logs of a job.
    ///
    /// - Parameter process: `coordinator` or `rank-3`; nil reads all.
    /// - Throws: `ClusterError.badInput` when there is no such log.
    public init(of folder: JobFolder, process: String? = nil) throws(ClusterError) {
        self.folder = folder
        self.process = process
        if let process, !names.contains(process) {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)) has no log of \(process): it has"
                    + " \(names.joined(separator: ", "))")
        }
        findNew()
    }

    /// Whether no process of the job has written a log.
    public var isEmpty: Bool { readers.isEmpty }

    private var names: [String] {
        let path = folder.url.path(percentEncoded: false)
        return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
            .filter { $0.hasSuffix(".log") }.map { String($0.dropLast(4)) }.sorted()
    }

    /// Takes in the logs of processes that were started since.
    public mutating func findNew() {
        for name in names where process == nil || name == process {
            guard !known.contains(name), let reader = LogReader(folder.log(name)) else { continue }
            known.insert(name)
            readers.append(reader)
        }
    }

    /// What stands after the last end of a line, log by log: words of processes that were killed.
    public mutating func rest() -> [String] {
        readers.indices.compactMap { readers[$0].takeRest() }
    }

    /// The next line of all logs that is whole, without its end; nil while there is none.
    public mutating func next() -> String? {
        var best: Int?
        for index in readers.indices where readers[index].line() != nil {
            if let other = best, readers[other].time <= readers[index].time { continue }
            best = index
        }
        return best.map { readers[$0].take() }
    }
}

/// Reads the lines of one log, which may still grow.
private struct LogReader {
    private let file: FileHandle
    private var pending = Data()
    private var current: String?
    /// The time of the newest line that had one, as text that sorts like time.
    private(set) var time = ""

    /// What is read at once, and the longest line that is kept whole.
    private static let most = 1 << 16

    init?(_ url: URL) {
        guard let file = FileHandle(forReadingAtPath: url.path(percentEncoded: false)) else {
            return nil
        }
        self.file = file
    }

    /// The line that `take` returns, or nil where the log ends for now.
    mutating func line() -> String? {
        if current != nil { return current }
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                keep(pending[..<end])
                pending = Data(pending[pending.index(after: end)...])
                return current
            }
            if pending.count >= Self.most {
                keep(pending)
                pending = Data()
                return current
            }
            guard let bytes = try? file.read(upToCount: Self.most), !bytes.isEmpty else {
                return nil
            }
            pending += bytes
        }
    }

    mutating func takeRest() -> String? {
        guard !pending.isEmpty else { return nil }
        keep(pending)
        pending = Data()
        return take()
    }

    mutating func take() -> String {
        defer { current = nil }
        return current ?? ""
    }

    private mutating func keep(_ bytes: Data) {
        // What a program wrote reaches a terminal without its control characters.
        let text = TaggedLog.plain(String(decoding: bytes, as: UTF8.self))
        let first = text.prefix { $0 != " " }
        if first.hasSuffix("Z"), first.contains("T"), first.first?.isNumber == true {
            time = String(first)
        }
        current = text
    }
}
