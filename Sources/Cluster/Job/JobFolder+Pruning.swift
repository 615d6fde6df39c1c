public import Foundation

extension JobFolder {
    /// Ended jobs whose folders are kept: the newest ones.
    ///
    /// Enough to study the failures of a day, few enough that logs fill no disk.
    public static let keptEndedJobs = 32

    /// Every job folder of this user, the newest first; other folders beside them are passed over.
    public static func all(in root: URL = root) -> [JobFolder] {
        let names =
            (try? FileManager.default.contentsOfDirectory(atPath: root.path(percentEncoded: false)))
            ?? []
        return names.filter { $0.contains(namePattern) }
            .map { JobFolder(root.appending(path: $0)) }
            .filter(\.isJobFolder)
            .map { ($0, $0.began) }
            .sorted { ($1.1, $1.0.name) < ($0.1, $0.0.name) }
            .map(\.0)
    }

    /// Removes the folders of ended jobs, but for the newest.
    ///
    /// A job that runs, a job of another machine, and a folder that is no job's, is never touched.
    ///
    /// - Parameter kept: How many ended jobs keep their folders.
    /// - Returns: The folders that were removed.
    @discardableResult
    public static func prune(in root: URL = root, keeping kept: Int = keptEndedJobs) -> [JobFolder]
    {
        all(in: root).filter(\.hasEnded).dropFirst(kept).filter { folder in
            (try? FileManager.default.removeItem(at: folder.url)) != nil
        }
    }

    /// `NAME-TIME-PID`, as `make` calls a folder.
    private static var namePattern: Regex<Substring> { /-\d{8}T\d{6}-\d+$/ }

    /// The folder's own name.
    var name: String { url.lastPathComponent }

    /// Whether the job ran on this machine, and is over.
    private var hasEnded: Bool {
        let isElsewhere = (try? state()).map { $0.node != ProcessIdentity.node } ?? false
        return !isRunning && !isElsewhere
    }

    /// Whether the process that runs the job lives, on this machine.
    public var isRunning: Bool {
        if let state = try? state() {
            return state.node == ProcessIdentity.node && state.owner.isAlive
        }
        // A folder whose job is about to begin: the process that made it stands in its name.
        let pid = name.split(separator: "-").last.flatMap { Int32($0) }
        return pid.flatMap { ProcessIdentity(pid: $0) } != nil
    }

    /// When the job began; of a folder without a state, when it was made.
    var began: Date {
        if let state = try? state() { return state.began }
        let attributes = try? FileManager.default.attributesOfItem(
            atPath: url.path(percentEncoded: false))
        return attributes?[.creationDate] as? Date ?? attributes?[.modificationDate] as? Date
            ?? .distantPast
    }

    /// A folder, and no link to one, with a resolved job in it.
    private var isJobFolder: Bool {
        let path = url.path(percentEncoded: false)
        let kind = try? FileManager.default.attributesOfItem(atPath: path)[.type]
        return kind as? FileAttributeType == .typeDirectory
            && FileManager.default.fileExists(atPath: configuration.path(percentEncoded: false))
    }
}
