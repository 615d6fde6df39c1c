public import Topology

/// What the ranks of a job do, with the settings of that work alone.
public enum Work: Hashable, Sendable {
    /// Answer requests with a model.
    case serve(ServingWork)
    /// Train a model.
    case train(TrainingWork)

    /// The role of the ranks that do it.
    public var role: RankRole {
        switch self {
        case .serve: .serve
        case .train: .train
        }
    }
}

/// What a job serves.
public struct ServingWork: Hashable, Sendable {
    /// The model's folder.
    public var model: String
    /// Settings of the engine, by its own names; what is left out keeps the engine's default.
    public var engine: [String: SettingValue] = [:]
    /// Whose rules chats follow; empty takes those of the model's own template.
    public var chatStyle = ""
    /// What becomes of the job when a rank is lost once it is ready.
    public var onLostRank = LossPolicy.goOn
    /// Whether the launcher starts a rank again that was lost.
    public var restart = RestartPolicy.onFailure
    /// Copies of routed experts beyond one of each, per layer over all ranks of a group.
    public var redundantExperts = 0
    /// How often the coordinator searches for a better placement of experts; 0 for never.
    public var rebalanceSeconds = 0.0
    /// The least time between two changes of the role of a group, which follow the load; 0 for
    /// roles that stay.
    public var rebalanceRolesSeconds = 0.0
    /// How a rank's cache stores entries; nil follows the compute mode.
    public var cacheFormat: CacheFormat?
    /// Where computed prefixes outlive the job; empty for nowhere.
    public var prefixFolder = ""
    /// Bytes that the files of that folder may have together.
    public var prefixBytes = 8 << 30
    /// Where a host without the model's folder keeps what its ranks receive of it; empty for
    /// nowhere: every host needs the folder.
    public var weightFolder = ""
    /// Bytes that models in that folder may have together on the disk.
    public var weightBytes = 1 << 40
    /// Settings of the HTTP API, by its own names.
    public var api: [String: SettingValue] = [:]

    /// Work with every default.
    public init(model: String) { self.model = model }
}

/// How a rank stores what attention keeps of each token.
public enum CacheFormat: String, CaseIterable, Sendable {
    case bf16, fp8, fp32
}

/// What becomes of a job that serves when a rank is lost.
public enum LossPolicy: String, CaseIterable, Sendable {
    /// The other ranks take over its experts and its requests.
    case goOn = "continue"
    /// The job ends.
    case end
}

/// Whether a launcher starts a lost rank of a job that serves again.
public enum RestartPolicy: String, CaseIterable, Sendable {
    /// It does, after a pause that doubles.
    case onFailure
    /// It does, each time after a second.
    case always
    /// It does not.
    case never
}

/// What a job trains.
public struct TrainingWork: Hashable, Sendable {
    /// The training file.
    public var file: String
    /// Settings of the run, by their own names; `apus train` fills them in.
    public var settings: [String: SettingValue]

    /// Work with the stated values.
    public init(file: String, settings: [String: SettingValue] = [:]) {
        self.file = file
        self.settings = settings
    }
}
