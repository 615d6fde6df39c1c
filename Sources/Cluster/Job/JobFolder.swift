public import Foundation
import Glibc

/// The folder of one job: its resolved configuration, where it listens, and a log per process.
public struct JobFolder: Sendable {
    /// The folder.
    public let url: URL

    /// A folder that exists.
    public init(_ url: URL) { self.url = url }

    /// Where jobs are kept: `APUS_JOBS`, or `apus/jobs` in the user's state folder.
    public static var root: URL {
        let variables = ProcessInfo.processInfo.environment
        if let folder = variables["APUS_JOBS"], !folder.isEmpty { return URL(filePath: folder) }
        let state =
            variables["XDG_STATE_HOME"].map { URL(filePath: $0) }
            ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".local/state")
        return state.appending(path: "apus/jobs")
    }

    /// Makes the folder of a new job, readable to its user alone, and keeps the resolved
    /// configuration in it.
    public static func make(
        for job: JobConfiguration, in root: URL = root, now: Date = Date()
    ) throws(ClusterError) -> JobFolder {
        let time = now.formatted(
            Date.ISO8601FormatStyle(
                dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .current
            ).year().month().day().time(includingFractionalSeconds: false))
        let name = "\(job.name)-\(time)-\(ProcessInfo.processInfo.processIdentifier)"
        let folder = JobFolder(root.appending(path: name))
        do {
            try FileManager.default.createDirectory(
                at: folder.url, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            try Data(job.yaml().utf8).write(to: folder.configuration)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)): \(error.localizedDescription)"
                    + " (\(ProcessIdentity.node)); APUS_JOBS names another folder")
        }
        return folder
    }

    /// The configuration with every default filled in.
    public var configuration: URL { url.appending(path: "job.yaml") }

    /// The log of a process: `coordinator` or `rank-3`.
    public func log(_ process: String) -> URL { url.appending(path: process + ".log") }

    /// Opens a new log for a child to write to.
    func openLog(_ process: String) throws(ClusterError) -> FileHandle {
        let file = log(process)
        let path = file.path(percentEncoded: false)
        // A rank that is started again writes on.
        guard
            FileManager.default.fileExists(atPath: path)
                || FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path), (try? handle.seekToEnd()) != nil
        else { throw .badInput("\(file.path(percentEncoded: false)) cannot be written") }
        return handle
    }

    /// The last line of a log that is not empty, for one-line errors.
    static func lastLine(of log: URL) -> String? {
        guard let handle = FileHandle(forReadingAtPath: log.path(percentEncoded: false)),
            let size = try? handle.seekToEnd()
        else { return nil }
        let tail: UInt64 = 8192
        try? handle.seek(toOffset: size > tail ? size - tail : 0)
        guard let bytes = try? handle.readToEnd() else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").last.map(String.init)
    }

    // MARK: Files that processes of the job tell each other by

    /// Where the coordinator listens.
    public struct Endpoints: Codable, Sendable {
        /// For workers and observers.
        public var control: Endpoint
        /// For clients; nil until it serves.
        public var http: Endpoint?
        /// The coordinator's process; nil of one of an earlier version.
        public var process: Int32?

        /// States where this process listens as the coordinator.
        public init(control: Endpoint, http: Endpoint? = nil) {
            self.control = control
            self.http = http
            process = getpid()
        }
    }

    /// Who runs the job, and how to talk to it.
    struct State: Codable, Sendable {
        /// The launcher, or a coordinator that was started by hand.
        var owner: ProcessIdentity
        /// The machine of that process: machines may share the folder of jobs.
        var node: String
        var began: Date
        var token: String
        var name: String
        /// The model's folder, or the training file.
        var subject: String

        /// A job that this process runs.
        init(of job: JobConfiguration, token: ControlToken, began: Date = Date()) {
            owner = .current
            node = ProcessIdentity.node
            self.began = began
            self.token = token.text
            name = job.name
            switch job.work {
            case .serve(let serving): subject = serving.model
            case .train(let training): subject = training.file
            }
        }
    }

    /// Makes the folder of a job whose coordinator was started by hand, so that it is seen.
    ///
    /// - Returns: The folder; `remove` takes it away when the coordinator ends.
    public static func adopt(
        _ job: JobConfiguration, token: ControlToken
    ) throws(ClusterError) -> JobFolder {
        let folder = try make(for: job)
        do {
            try folder.write(State(of: job, token: token))
        } catch {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)): \(error.localizedDescription)")
        }
        return folder
    }

    /// Takes over the folder of a job whose process is gone, for this one to run it.
    ///
    /// Nothing happens if that process lives, as a launcher does.
    public func takeOver(_ job: JobConfiguration, token: ControlToken) throws {
        if let state = try? state(), state.owner.isAlive { return }
        try write(State(of: job, token: token))
    }

    /// Takes the folder away, with all that is in it.
    public func remove() { try? FileManager.default.removeItem(at: url) }

    /// Tells where the coordinator listens.
    public func write(_ endpoints: Endpoints) throws { try write(endpoints, "endpoints.json") }

    /// Where the coordinator listens, once it does.
    public func endpoints() throws -> Endpoints { try read("endpoints.json") }

    func write(_ state: State) throws {
        try write(state, "state.json")
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600],
            ofItemAtPath: url.appending(path: "state.json").path(percentEncoded: false))
    }

    func state() throws -> State { try read("state.json") }

    private func write(_ value: some Encodable, _ name: String) throws {
        try JSONEncoder().encode(value).write(to: url.appending(path: name), options: .atomic)
    }

    private func read<Value: Decodable>(_ name: String) throws -> Value {
        try JSONDecoder().decode(
            Value.self, from: Data(contentsOf: url.appending(path: name)))
    }
}
