import Encoding
public import Foundation

extension JobConfiguration {
    /// Fingerprints of the files of the model's folder, or of the training file.
    func fileFingerprints() throws(ClusterError) -> [String: String] {
        switch work {
        case .serve(let serving): try Fingerprint.ofModel(serving.model)
        case .train(let training): ["train.file": try Fingerprint.ofFile(training.file)]
        }
    }

    /// What all ranks must agree on, by its place in the job file: all but where this node keeps
    /// its files, where the coordinator listens, how the launcher reaches hosts, and the settings
    /// of the coordinator's API, whose keys are secrets.
    func commonSettings() throws(ClusterError) -> [String: String] {
        var common = JobFile(self)
        common.model = ""
        common.prefixFolder = ""
        common.weightFolder = ""
        common.weightBytes = JobFile().weightBytes
        common.train.file = ""
        common.lab = ""
        common.control = JobFile().control
        common.http = JobFile().http
        common.tokenFile = ""
        common.hosts = JobFile().hosts
        common.ssh = JobFile().ssh
        common.programs = JobFile().programs
        // The device is each host's own in the network.
        if !network.isEmpty { common.device = "" }
        common.api = [:]
        do {
            let bytes = try JSONEncoder().encode(common)
            let tree = try JSONDecoder().decode(SettingValue.self, from: bytes)
            var settings: [String: String] = [:]
            tree.flatten(at: "", into: &settings)
            return settings
        } catch {
            throw .badInput("the job \(name) cannot be encoded: \(error)")
        }
    }
}

extension SettingValue {
    /// Lists the values that are neither mappings nor lists, each by its place.
    fileprivate func flatten(at place: String, into settings: inout [String: String]) {
        func below(_ name: String) -> String { place.isEmpty ? name : "\(place).\(name)" }
        switch self {
        case .mapping(let mapping):
            for (key, value) in mapping { value.flatten(at: below(key), into: &settings) }
        case .list(let list):
            for (index, value) in list.enumerated() {
                value.flatten(at: "\(place)[\(index)]", into: &settings)
            }
        case .flag(let flag): settings[place] = "\(flag)"
        case .integer(let integer): settings[place] = "\(integer)"
        case .number(let number): settings[place] = "\(number)"
        case .text(let text): settings[place] = "\"\(text)\""
        }
    }
}

extension JobIdentity {
    /// What a process of this job must agree on with the others.
    ///
    /// - Parameter programs: The folder of `apus-worker`, whose bytes are the build's identity.
    public init(
        of job: JobConfiguration, programs: URL = Self.ownFolder
    ) throws(ClusterError) {
        let worker = programs.appending(path: "apus-worker").path(percentEncoded: false)
        let named = ProcessInfo.processInfo.environment[Self.buildVariable]
        let build: String
        if let named { build = named } else { build = try Fingerprint.ofFile(worker) }
        self.init(
            build: build, files: try job.fileFingerprints(),
            settings: try job.commonSettings())
    }

    /// The launcher's build, for a worker of another file that the launcher checked by its digest,
    /// as one for another architecture.
    static let buildVariable = "APUS_BUILD"

    /// The folder of the running program.
    public static var ownFolder: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }
}
