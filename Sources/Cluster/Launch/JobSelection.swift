public import Foundation

/// Which job a command means.
public enum JobSelection {
    /// The folder of a job.
    ///
    /// - Parameters:
    ///   - text: A job's folder, or its name or file (then the newest that runs, or the newest of
    ///     all); nil takes the only job that runs.
    ///   - mayHaveEnded: Whether a job that is over will do.
    /// - Throws: `ClusterError.badInput` when no job fits, or several do.
    public static func folder(
        _ text: String?, mayHaveEnded: Bool, in root: URL = JobFolder.root
    ) throws(ClusterError) -> JobFolder {
        let all = JobFolder.all(in: root)
        let place = root.path(percentEncoded: false)
        guard let text else {
            let running = all.filter(\.isRunning)
            if running.count > 1 {
                let names = running.compactMap { try? $0.state().name }
                throw .badInput(
                    "\(running.count) jobs run (\(names.joined(separator: ", "))): say which one")
            }
            guard let one = running.first ?? (mayHaveEnded ? all.first : nil) else {
                throw .badInput("no job runs (searched \(place))")
            }
            return one
        }
        if let folder = given(text) { return folder }
        let name = try name(text)
        let named = all.filter {
            (try? $0.state().name) == name || $0.url.lastPathComponent == name
        }
        if let running = named.first(where: \.isRunning) { return running }
        guard let newest = named.first else {
            throw .badInput("\(text) is neither a job's folder nor the name of a job in \(place)")
        }
        guard mayHaveEnded else { throw .badInput("the job \(text) does not run any more") }
        return newest
    }

    /// The folder of a job that runs on this machine, to whose port a secret may be sent.
    ///
    /// - Throws: `ClusterError.badInput` when no job fits, several do, or the one that is named has
    ///   ended or runs on another machine.
    public static func here(
        _ text: String?, in root: URL = JobFolder.root
    ) throws(ClusterError) -> JobFolder {
        let folder = try folder(text, mayHaveEnded: false, in: root)
        guard !folder.isRunning else { return folder }
        let report = try JobWatch.report(of: folder, asks: false)
        throw .badInput(
            report.state == "ended"
                ? "the job \(report.name) has ended"
                : "the job \(report.name) runs \(report.state): ask there, or name its URL")
    }

    /// The name of the job that a file describes, or what was said.
    private static func name(_ text: String) throws(ClusterError) -> String {
        guard text.hasSuffix(".yaml") || text.hasSuffix(".yml") else { return text }
        return try JobConfiguration(contentsOf: text).name
    }

    private static func given(_ path: String) -> JobFolder? {
        let folder = JobFolder(URL(filePath: path))
        return (try? folder.state()) == nil ? nil : folder
    }
}
