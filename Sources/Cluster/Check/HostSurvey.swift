/// What a host says of itself for a job: facts alone, which `JobFacts` judges elsewhere.
///
/// Sizes are bytes. What the kernel does not say is nil, and what was not asked is empty.
package struct HostSurvey: Codable, Equatable, Sendable {
    /// The version of the programs there.
    package var version = ""
    /// The version of the control plane that they speak.
    package var protocolVersion = 0
    /// The fingerprint of `apus-worker` there; empty where only the cheap half was asked.
    package var build = ""
    /// The kernel's own number of this boot: hosts that share it are one machine.
    package var machine = ""
    /// The instructions that the kernels use there, as `avx2`.
    package var processorLevel = ""
    /// Cores that a process may use.
    package var cores = 1
    /// NUMA domains that have cores.
    package var numaDomains = 1
    /// What memory and control groups allow.
    package var memory = Memory()
    /// What a process there may do.
    package var limits = Limits()
    /// Folders that the job writes to.
    package var folders: [Folder] = []
    /// The model's folder; nil of a job that serves none.
    package var model: Model?
    /// Network devices, loopback left out.
    package var cards: [Card] = []
    /// Ports of RDMA devices.
    package var rdmaPorts: [RDMAPort] = []
    /// Names of the job file, with the address that each has there; empty where it has none.
    package var names: [String: String] = [:]
    /// Why endpoints of the job cannot be listened on.
    package var takenPorts: [String] = []

    /// A survey that says nothing yet.
    package init() {}

    /// Memory of the machine, and what may be used of it.
    package struct Memory: Codable, Equatable, Sendable {
        package var totalBytes = 0
        /// Free, or given back when it is wanted (`MemAvailable`).
        package var availableBytes = 0
        /// The least limit of the control groups around the process.
        package var groupLimitBytes: Int?
        /// `vm.overcommit_memory`: 2 refuses what may not fit.
        package var overcommit = 0
        /// What may be reserved yet; nil unless `overcommit` is 2.
        package var commitLeftBytes: Int?
        package var sharedTotalBytes: Int?
        package var sharedFreeBytes: Int?
        /// `always`, `madvise` or `never` of transparent huge pages.
        package var hugePages = ""

        /// What processes may use now.
        package var freeBytes: Int { min(availableBytes, groupLimitBytes ?? .max) }
    }

    /// What a process may have.
    package struct Limits: Codable, Equatable, Sendable {
        /// Bytes that may be locked; nil is without limit.
        package var lockedBytes: Int?
        /// Open files; nil is without limit.
        package var openFiles: Int?
        /// Cores that control groups leave.
        package var cores: Double?
        /// Processes and threads that control groups leave.
        package var processes: Int?
    }

    /// A folder that the job writes to.
    package struct Folder: Codable, Equatable, Sendable {
        package var path: String
        package var freeBytes: Int?
        package var isWritable: Bool
        /// What names another folder.
        package var remedy: String
    }

    /// The files of a model's folder.
    package struct Model: Codable, Equatable, Sendable {
        package var path: String
        /// A fingerprint of every file; its size where only the cheap half was asked.
        package var files: [String: String] = [:]
        /// Bytes of all safetensors files.
        package var weightBytes = 0
        /// Whether no model is in the folder, which may then be received.
        package var isAbsent = false
        /// Files that are cut short or missing, and folders that hold no model.
        package var faults: [String] = []
    }

    /// A network device.
    package struct Card: Codable, Equatable, Sendable {
        package var name: String
        package var isUp: Bool
        package var maximumPacketBytes: Int
        package var addresses: [String] = []
    }

    /// A port of an RDMA device.
    package struct RDMAPort: Codable, Equatable, Sendable {
        package var name: String
        package var isActive: Bool
        package var maximumPacketBytes: Int
        package var gids: [String]

        /// A port as its device describes it.
        package init(name: String, isActive: Bool, maximumPacketBytes: Int, gids: [String]) {
            self.name = name
            self.isActive = isActive
            self.maximumPacketBytes = maximumPacketBytes
            self.gids = gids
        }
    }
}
