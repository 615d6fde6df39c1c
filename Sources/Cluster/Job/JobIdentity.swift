public import Topology

/// What coordinator and workers must agree on before they work together.
///
/// Files and settings are listed one by one, so that a refusal names the one that differs.
public struct JobIdentity: Hashable, Codable, Sendable {
    /// The version of the frames on the control plane.
    public var protocolVersion: Int
    /// The release, as `apus --version` prints it.
    public var version: String
    /// The program: a fingerprint of `apus-worker`.
    public var build: String
    /// A fingerprint of each file of the model's folder, by name; of a job that trains, of its
    /// training file.
    package var files: [String: String]
    /// The resolved job's settings by their place in the job file, less what may differ from node
    /// to node and what concerns the coordinator alone.
    package var settings: [String: String]

    /// States what this process is about to run.
    public init(
        protocolVersion: Int = ControlProtocol.version, version: String = ApusVersion.current,
        build: String, files: [String: String], settings: [String: String]
    ) {
        self.protocolVersion = protocolVersion
        self.version = version
        self.build = build
        self.files = files
        self.settings = settings
    }

    /// The first field in which a worker differs from the coordinator, as a sentence; nil if none.
    public func difference(from worker: JobIdentity) -> String? {
        let fields = [
            ("protocol version", "\(protocolVersion)", "\(worker.protocolVersion)"),
            ("version", version, worker.version),
            ("build", build, worker.build),
        ]
        if let (name, ours, theirs) = fields.first(where: { $0.1 != $0.2 }) {
            return Self.sentence(name, ours, theirs)
        }
        return Self.difference(files, worker.files, "model file ")
            ?? Self.difference(settings, worker.settings, "setting ")
    }

    private static func difference(
        _ ours: [String: String], _ theirs: [String: String], _ kind: String
    ) -> String? {
        let names = Set(ours.keys).union(theirs.keys).filter { ours[$0] != theirs[$0] }.sorted()
        guard let name = names.first else { return nil }
        let others = names.dropFirst()
        let listed = others.prefix(mostNames).joined(separator: ", ")
        let more = others.isEmpty ? "" : "; so do \(listed)"
        let rest = others.count > mostNames ? " and \(others.count - mostNames) more" : ""
        return sentence(kind + name, ours[name] ?? "none", theirs[name] ?? "none") + more + rest
    }

    /// Further names in a message that is one line.
    private static let mostNames = 4

    private static func sentence(_ name: String, _ ours: String, _ theirs: String) -> String {
        "\(name) differs: the coordinator has \(ours), the worker has \(theirs)"
    }
}
