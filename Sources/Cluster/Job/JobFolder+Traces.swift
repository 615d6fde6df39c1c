import Encoding
public import Foundation

/// What a job's processes leave for people to read.
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
            { try? FileManager.default.removeItem(at: traces.appending(path: name)) }
            try trace.write(to: file, options: .atomic)
        } catch {
            throw .badInput("a trace cannot be written to \(path): \(error.localizedDescription)")
        }
        return file
    }

    /// The file of a trace that the coordinator of this job says it kept.
    ///
    /// - Parameter answer: Its path; any text, as whoever has the port may send any.
    /// - Returns: A file among this job's traces.
    /// - Throws: `ClusterError.badInput` for what `keep` names no file.
    public func trace(at answer: String) throws(ClusterError) -> URL {
        let name = answer.split(separator: "/").last ?? ""
        guard name.wholeMatch(of: /trace-[0-9TZ.]{1,40}\.json/) != nil else {
            throw .badInput(
                "the coordinator names \(answer.printable(limit: 200)) as its trace: it keeps"
                    + " them as traces/trace-*.json of the job's folder; ask again")
        }
        return url.appending(path: "traces").appending(path: name)
    }
}
