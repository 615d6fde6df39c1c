import Foundation
import Topology
import Yams

/// A job file as it is written: one flat set of keys over their defaults.
///
/// `model`, `engine` and `api` belong to a job that serves, `train` to one that trains. `ranks` is
/// the short form of one group. `JobConfiguration` is what it means.
struct JobFile: Codable {
    /// One of `groups`.
    struct Group: Codable {
        var name: String
        var role: String
        var ranks: Int
    }

    /// What a job trains.
    struct Train: Codable {
        var file = ""
        var settings: [String: SettingValue] = [:]
    }

    var name = "local"
    var model = ""
    var ranks = 1
    var groups: [Group] = []
    var threads = 1
    var transport = TransportKind.auto.rawValue
    var device = ""
    var network = ""
    var lab = ""
    var chatStyle = ""
    var onLostRank = ""
    var restart = ""
    var redundantExperts = 0
    var rebalance = 0.0
    var rebalanceRoles = 0.0
    var cacheFormat = ""
    var prefixFolder = ""
    var prefixBytes = ServingWork(model: "").prefixBytes
    var weightFolder = ""
    var weightBytes = ServingWork(model: "").weightBytes
    var control = JobConfiguration().control
    var http = JobConfiguration().http
    var tokenFile = ""
    var hosts = SettingValue.list([])
    var hostfile = ""
    var ssh = SecureShell()
    var programs = ProgramSource.path.rawValue
    var deadlines = JobConfiguration.Deadlines()
    var limits = JobConfiguration.Limits()
    var engine: [String: SettingValue] = [:]
    var api: [String: SettingValue] = [:]
    var train = Train()

    /// Every default.
    init() {}

    /// The whole of a job, as it is kept beside its logs.
    init(_ job: JobConfiguration) {
        name = job.name
        ranks = job.ranks
        groups = job.groups.groups.map {
            Group(name: $0.name, role: $0.role.rawValue, ranks: $0.rankCount)
        }
        threads = job.threads
        transport = job.transport.rawValue
        device = job.device
        network = job.network
        lab = job.lab
        control = job.control
        http = job.http
        tokenFile = job.tokenFile
        hosts = .list(job.hosts.map(SettingValue.init))
        ssh = job.ssh
        programs = job.programs.rawValue
        deadlines = job.deadlines
        limits = job.limits
        switch job.work {
        case .serve(let serving):
            model = serving.model
            chatStyle = serving.chatStyle
            onLostRank = serving.onLostRank.rawValue
            restart = serving.restart.rawValue
            redundantExperts = serving.redundantExperts
            rebalance = serving.rebalanceSeconds
            rebalanceRoles = serving.rebalanceRolesSeconds
            cacheFormat = serving.cacheFormat?.rawValue ?? ""
            prefixFolder = serving.prefixFolder
            prefixBytes = serving.prefixBytes
            weightFolder = serving.weightFolder
            weightBytes = serving.weightBytes
            engine = serving.engine
            api = serving.api
        case .train(let training):
            train = Train(file: training.file, settings: training.settings)
        }
    }

    /// Reads the text of a job file; `path` is only for messages.
    init(yaml: String, path: String) throws(ClusterError) {
        do {
            guard var written = try InputFile.compose(yaml)?.any as? [String: Any] else {
                throw ClusterError.badInput("\(path): the file is not a mapping of keys to values")
            }
            try Self.readFormerKeys(&written, path: path)
            self = try Self.overlaid(JobFile(), with: written, path: path)
            if (written["deadlines"] as? [String: Any])?["silenceSeconds"] == nil,
                train.file.isEmpty, onLostRank != LossPolicy.end.rawValue
            {
                deadlines.silenceSeconds = JobConfiguration.Deadlines.survivableSilence
            }
            if !groups.isEmpty, written["ranks"] != nil, ranks != groupRanks {
                throw ClusterError.badInput(
                    "\(path): ranks \(ranks) differs from the \(groupRanks) of its groups")
            }
            try readHosts(hasRanks: written["ranks"] != nil, path: path)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput(
                "\(path): \("\(error)".split(separator: "\n").joined(separator: " "))")
        }
    }

    private var groupRanks: Int { groups.reduce(0) { $0 + $1.ranks } }
}

// MARK: What it means

extension JobFile {
    /// The job.
    ///
    /// - Throws: `ClusterError.badInput` with the file, the field and what is known.
    func configuration(path: String) throws(ClusterError) -> JobConfiguration {
        var job = JobConfiguration()
        job.name = name
        job.work = try work(path: path)
        job.groups = try groupMap(job.work.role, path: path)
        job.threads = threads
        guard let transport = TransportKind(rawValue: transport) else {
            let reason = JobConfiguration.unknown(transport: transport)
            throw .badInput("\(path): \(reason)")
        }
        job.transport = transport
        job.device = device
        job.network = network
        job.lab = lab
        job.control = Endpoint(address: control.address, port: control.port)
        job.http = Endpoint(address: http.address, port: http.port)
        job.tokenFile = tokenFile
        job.hosts = try JobHost.read(hosts, ranks: nil, path: path)
        job.ssh = ssh
        job.programs = try choice("programs", programs, path: path) ?? .path
        job.deadlines = deadlines
        job.limits = limits
        try job.validate(path: path)
        return job
    }

    private func work(path: String) throws(ClusterError) -> Work {
        guard !train.file.isEmpty else {
            guard train.settings.isEmpty else { throw .badInput("\(path): train.file is missing") }
            var serving = ServingWork(model: model)
            serving.chatStyle = chatStyle
            serving.onLostRank =
                try choice("onLostRank", onLostRank, path: path) ?? serving.onLostRank
            serving.restart = try choice("restart", restart, path: path) ?? serving.restart
            serving.redundantExperts = redundantExperts
            serving.rebalanceSeconds = rebalance
            serving.rebalanceRolesSeconds = rebalanceRoles
            serving.cacheFormat = try choice("cacheFormat", cacheFormat, path: path)
            serving.prefixFolder = prefixFolder
            serving.prefixBytes = prefixBytes
            serving.weightFolder = weightFolder
            serving.weightBytes = weightBytes
            serving.engine = engine
            serving.api = api
            return .serve(serving)
        }
        let others = [
            ("model", model.isEmpty), ("chatStyle", chatStyle.isEmpty),
            ("onLostRank", onLostRank.isEmpty), ("restart", restart.isEmpty),
            ("redundantExperts", redundantExperts == 0), ("rebalance", rebalance == 0),
            ("rebalanceRoles", rebalanceRoles == 0),
            ("cacheFormat", cacheFormat.isEmpty), ("prefixFolder", prefixFolder.isEmpty),
            ("weightFolder", weightFolder.isEmpty),
            ("engine", engine.isEmpty), ("api", api.isEmpty),
        ]
        if let other = others.first(where: { !$0.1 }) {
            throw .badInput(
                "\(path): \(other.0) is of a job that serves, train.file of one that trains")
        }
        return .train(TrainingWork(file: train.file, settings: train.settings))
    }

    /// The choice that a key names; nil for a key that is not there.
    private func choice<Choice: CaseIterable & RawRepresentable<String>>(
        _ key: String, _ value: String, path: String
    ) throws(ClusterError) -> Choice? {
        guard !value.isEmpty else { return nil }
        guard let choice = Choice(rawValue: value) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw .badInput("\(path): \(key) \"\(value)\" is unknown: \(known)")
        }
        return choice
    }

    private func groupMap(_ role: RankRole, path: String) throws(ClusterError) -> RankGroupMap {
        guard !groups.isEmpty else {
            guard (1 ... Rank.maximumCount).contains(ranks) else {
                throw .badInput("\(path): ranks \(ranks) is not 1 to \(Rank.maximumCount)")
            }
            return .one(role, rankCount: ranks)
        }
        var known: [RankGroup] = []
        for (index, group) in groups.enumerated() {
            guard let role = RankRole(rawValue: group.role) else {
                let roles = RankRole.allCases.map(\.rawValue).joined(separator: ", ")
                throw .badInput(
                    "\(path): groups[\(index)].role \"\(group.role)\" is not known to this version;"
                        + " known: \(roles)")
            }
            known.append(RankGroup(name: group.name, role: role, rankCount: group.ranks))
        }
        do {
            return try RankGroupMap(known)
        } catch {
            throw .badInput("\(path): \(error)")
        }
    }
}
