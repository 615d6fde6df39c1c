import Encoding
import Foundation
import Topology

extension HostSurvey {
    /// Which parts of a job a host holds.
    package enum Part: Sendable {
        /// Ranks alone.
        case ranks
        /// The coordinator and the API alone.
        case launcher
        /// Both.
        case all
    }

    /// Gathers the facts of this host.
    ///
    /// - Parameters:
    ///   - isWhole: Also what takes longer than some milliseconds: fingerprints of files.
    ///   - instruments: Nil leaves out addresses, RDMA devices and the kernels' level.
    ///   - root: The folder that holds `proc` and `sys`.
    package init(
        of job: JobConfiguration, part: Part, isWhole: Bool, instruments: HostInstruments?,
        root: String = "/"
    ) {
        let files = SystemFiles(root: root)
        version = ApusVersion.current
        protocolVersion = ControlProtocol.version
        machine = files.text("proc/sys/kernel/random/boot_id") ?? ""
        cores = ProcessInfo.processInfo.activeProcessorCount
        numaDomains = MachineSurvey(root: root).numaDomains
        processorLevel = instruments?.processorLevel() ?? ""
        memory = Memory(files)
        limits = Limits(files)
        memory.groupLimitBytes = ControlGroups(files).leastNumber(
            "memory", "memory.max", former: "memory.limit_in_bytes")
        if isWhole {
            let worker = JobIdentity.ownFolder.appending(path: "apus-worker")
            build = (try? Fingerprint.ofFile(worker.path(percentEncoded: false))) ?? ""
        }
        if case .serve(let serving) = job.work {
            model = Model(folder: serving.model, isWhole: isWhole)
        }
        if let instruments {
            cards = Self.cards(files, instruments.addresses())
            rdmaPorts = instruments.rdmaPorts()
        }
        gatherPlaces(job, part)
    }

    private mutating func gatherPlaces(_ job: JobConfiguration, _ part: Part) {
        if part != .launcher {
            folders.append(
                Folder(
                    at: FileManager.default.temporaryDirectory, remedy: "TMPDIR names another"))
            if let serving = job.serving, !serving.weightFolder.isEmpty, model?.isAbsent == true {
                folders.append(
                    Folder(
                        at: URL(filePath: serving.weightFolder),
                        remedy: "weightFolder names another"))
            }
        }
        if part != .ranks {
            folders.append(Folder(at: JobFolder.root, remedy: "APUS_JOBS names another"))
            takenPorts = job.listeners.filter { $0.endpoint.port != 0 }.compactMap {
                do throws(ClusterError) {
                    try $0.endpoint.checkFree(as: $0.name)
                    return nil
                } catch {
                    return "\(error)"
                }
            }
        }
        for (_, endpoint) in job.listeners where !endpoint.isPath && !endpoint.isNumeric {
            names[endpoint.address] = endpoint.number ?? ""
        }
    }

    /// Devices but loopback, with their addresses.
    private static func cards(
        _ files: SystemFiles, _ addresses: [(device: String, address: String)]
    ) -> [Card] {
        files.names("sys/class/net").filter { $0 != "lo" }.compactMap { name in
            let folder = "sys/class/net/\(name)"
            guard let size = files.text(folder + "/mtu").flatMap({ Int($0) }) else { return nil }
            return Card(
                name: name, isUp: files.text(folder + "/carrier") == "1",
                maximumPacketBytes: size,
                addresses: addresses.filter { $0.device == name }.map(\.address))
        }
    }
}

extension JobConfiguration {
    /// What listens beside the launcher, by its key in the job file.
    package var listeners: [(name: String, endpoint: Endpoint)] {
        let api = serving == nil ? [] : [(name: "http address", endpoint: http)]
        return api + [(name: "control address", endpoint: control)].filter { !$0.endpoint.isPath }
    }
}

extension HostSurvey.Memory {
    fileprivate init(_ files: SystemFiles) {
        func bytes(_ name: String) -> Int? {
            files.number(name, in: "proc/meminfo").map { $0 << 10 }
        }
        totalBytes = bytes("MemTotal:") ?? 0
        availableBytes = bytes("MemAvailable:") ?? totalBytes
        overcommit = files.text("proc/sys/vm/overcommit_memory").flatMap { Int($0) } ?? 0
        if overcommit == 2, let limit = bytes("CommitLimit:"), let used = bytes("Committed_AS:") {
            commitLeftBytes = max(0, limit - used)
        }
        let shared = try? FileManager.default.attributesOfFileSystem(forPath: "/dev/shm")
        sharedTotalBytes = (shared?[.systemSize] as? NSNumber)?.intValue
        sharedFreeBytes = (shared?[.systemFreeSize] as? NSNumber)?.intValue
        // "always [madvise] never": the one in brackets holds.
        let modes = files.text("sys/kernel/mm/transparent_hugepage/enabled") ?? ""
        hugePages =
            modes.split(separator: " ").first { $0.hasPrefix("[") }
            .map { String($0.dropFirst().dropLast()) } ?? ""
    }
}

extension HostSurvey.Limits {
    fileprivate init(_ files: SystemFiles) {
        // "Max locked memory  8388608  8388608  bytes": the soft limit, then the hard one.
        func limit(_ name: String, isHard: Bool) -> Int? {
            let line = files.text("proc/self/limits")?.split(separator: "\n")
                .first { $0.hasPrefix(name) }
            let words = line?.dropFirst(name.count).split(separator: " ") ?? []
            return words.dropFirst(isHard ? 1 : 0).first.flatMap { Int($0) }
        }
        // Programs raise their own limit of open files up to the hard one.
        openFiles = limit("Max open files", isHard: true)
        let groups = ControlGroups(files)
        lockedBytes =
            Self.mayLockAll(files) ? nil : limit("Max locked memory", isHard: false)
        processes = groups.leastNumber("pids", "pids.max", former: "pids.max")
        cores = groups.leastCores
    }

    /// Whether the process has the capability that lifts the limit of locked memory.
    private static func mayLockAll(_ files: SystemFiles) -> Bool {
        let word = files.word("CapEff:", in: "proc/self/status") ?? "0"
        // CAP_IPC_LOCK of linux/capability.h.
        return (UInt64(word, radix: 16) ?? 0) >> 14 & 1 == 1
    }
}

extension HostSurvey.Folder {
    /// The folder, or the nearest above it that is there.
    fileprivate init(at url: URL, remedy: String) {
        var place = url.standardizedFileURL
        let files = FileManager.default
        while !files.fileExists(atPath: place.path(percentEncoded: false)), place.path() != "/" {
            place.deleteLastPathComponent()
        }
        let path = place.path(percentEncoded: false)
        let space = try? files.attributesOfFileSystem(forPath: path)
        self.init(
            path: path, freeBytes: (space?[.systemFreeSize] as? NSNumber)?.intValue,
            isWritable: files.isWritableFile(atPath: path), remedy: remedy)
    }
}
