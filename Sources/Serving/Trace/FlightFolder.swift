public import Foundation
public import Topology

/// Where a rank's last events are written to when something went wrong.
///
/// 1. The newest `kept` files of a rank stay, each of them whole: it is renamed when it is written.
public struct FlightFolder: Sendable {
    /// Files of one rank: the losses of a bad night, a megabyte in all.
    static let kept = 8

    private let folder: URL
    private let rank: Rank

    /// - Parameter folder: Made by the first file.
    public init(_ folder: URL, rank: Rank) {
        self.folder = folder
        self.rank = rank
    }

    private var prefix: String { "rank-\(rank.rawValue)-" }

    /// What a recorder holds now.
    func record(_ recorder: RankRecorder, reason: String) -> FlightRecord {
        // The clock first: a step that ends meanwhile is none that the record must have.
        var head = FlightRecord.Head.now(rank: rank.rawValue, reason: reason, older: 0)
        let (events, older) = recorder.last
        head.older = older
        return FlightRecord(head: head, events: events)
    }

    /// Writes a record, and removes older files of the rank.
    ///
    /// - Throws: What the file system has against it.
    func write(_ record: FlightRecord, to file: URL) throws {
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        // Atomic: a temporary file, which is renamed.
        try record.encoded().write(to: file, options: .atomic)
        // The file is there, whatever becomes of older ones.
        let names = try? FileManager.default.contentsOfDirectory(
            atPath: folder.path(percentEncoded: false))
        for name in (names ?? []).filter(isOurs).sorted().dropLast(Self.kept) {
            try? FileManager.default.removeItem(at: folder.appending(path: name))
        }
    }

    /// What stands before the file in a reason that names one.
    private static let mark = " (last events: "

    /// A reason with the file that has the last events, for those who run the job.
    static func naming(_ file: URL, on node: String, in reason: String) -> String {
        "\(reason)\(mark)\(file.path(percentEncoded: false)) on \(node))"
    }

    /// A reason as the API's clients may read it: without the file, which names users and hosts,
    /// and what follows it.
    public static func withoutFile(_ reason: String) -> String {
        reason.firstRange(of: mark).map { String(reason[..<$0.lowerBound]) } ?? reason
    }

    /// The file for what is written now.
    func next(at date: Date) -> URL {
        let style = Date.ISO8601FormatStyle(
            dateSeparator: .omitted, timeSeparator: .omitted, includingFractionalSeconds: true,
            timeZone: .gmt)
        return folder.appending(path: prefix + date.formatted(style) + ".jsonl")
    }

    private func isOurs(_ name: String) -> Bool {
        name.hasPrefix(prefix) && name.hasSuffix(".jsonl")
    }
}
