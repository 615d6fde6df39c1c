public import Topology

/// What coordinator and workers must agree on before they work together.
public struct JobIdentity: Hashable, Codable, Sendable {
    /// The version of the frames on the control plane.
    public var protocolVersion: Int
    /// The release, as `apus --version` prints it.
    public var version: String
    /// The program: a digest of `apus-worker`.
    public var build: String
    /// The model folder: configuration, tokenizer and the headers of its weights.
    package var modelDigest: String
    /// The resolved job, less what may differ from node to node.
    package var configDigest: String

    /// States what this process is about to run.
    public init(
        protocolVersion: Int = ControlProtocol.version, version: String = ApusVersion.current,
        build: String, modelDigest: String, configDigest: String
    ) {
        self.protocolVersion = protocolVersion
        self.version = version
        self.build = build
        self.modelDigest = modelDigest
        self.configDigest = configDigest
    }

    /// The first field in which a worker differs from the coordinator, as a sentence; nil if none.
    public func difference(from worker: JobIdentity) -> String? {
        let fields = [
            ("protocol version", "\(protocolVersion)", "\(worker.protocolVersion)"),
            ("version", version, worker.version),
            ("build", build, worker.build),
            ("model digest", modelDigest, worker.modelDigest),
            ("config digest", configDigest, worker.configDigest),
        ]
        guard let (name, ours, theirs) = fields.first(where: { $0.1 != $0.2 }) else { return nil }
        return "\(name) differs: the coordinator has \(ours), the worker has \(theirs)"
    }
}
