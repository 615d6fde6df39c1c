public import Foundation

/// What a job's processes leave for people to look into.
extension JobFolder {
    /// Traces that wait for who asked: one who was interrupted leaves one behind.
    private static let keptTraces = 3

    /// Where a rank writes its last events when something goes wrong.
    ///
    /// Beside the job file of a rank, where that lies in a job's folder. Elsewhere, as on a host
    /// behind ssh or where Slurm started the rank, `apus/flight/NAME` in the user's state folder.
    public static func flight(jobFile: String, name: String) -> URL {
        let beside = JobFolder(URL(filePath: jobFile).deletingLastPathComponent())
        if (try? beside.state()) != nil { return beside.url.appending(path: "flight") }
        return root.deletingLastPathComponent().appending(path: "flight").appending(path: name)
    }

    /// Keeps a trace for who asked for it, and removes older ones.
    ///
    /// - Returns: The file, which is whole.
    /// - Throws: `ClusterError.badInput` with what the file system has against it.
    public func keep(trace: Data, now: Date = Date()) throws(ClusterError) -> URL {
        let traces = url.appending(path: "traces")
        let path = traces.path(percentEncoded: false)
        let style = Date.ISO8601FormatStyle(
            dateSeparator: .omitted, timeSeparator: .omitted, includingFractionalSeconds: true,
            timeZone: .gmt)
        let file = traces.appending(path: "trace-\(now.formatted(style)).json")
        do {
            try FileManager.default.createDirectory(
                at: traces, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            let names = try FileManager.default.contentsOfDirectory(atPath: path)
            for name in names.filter({ $0.hasPrefix("trace-") }).sorted()
                .dropLast(Self.keptTraces - 1)
            { try FileManager.default.removeItem(at: traces.appending(path: name)) }
            try trace.write(to: file, options: .atomic)
        } catch {
            throw .badInput("a trace cannot be written to \(path): \(error.localizedDescription)")
        }
        return file
    }
}
