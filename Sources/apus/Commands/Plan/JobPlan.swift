import ArgumentParser
import Cluster
import Foundation
import Topology

/// What a launch of a job would start where, beside what its hosts have: `apus plan FILE`.
struct JobPlan: Encodable {
    /// A host with its share of the job. Sizes are bytes.
    struct Host: Encodable {
        let name: String
        let ranks: [Int]
        /// Routed experts of a layer, by rank.
        let experts: [Int]
        /// By rank.
        let weightBytes: [Int]
        /// Of all ranks: weights and the whole cache.
        let neededBytes: Int?
        let freeBytes: Int?
        /// Tokens of cache that fit each rank beside the weights.
        let fittingTokens: Int?
    }

    let job: String
    let hosts: [Host]
    let cacheTokens: Int
    let cacheBytesPerToken: Int?
    /// What listens, by its key; port 0 is any free one.
    let ports: [String: String]
    let commands: [LaunchCommands]
    /// Which host reads the model where, where hosts may receive it.
    let weights: [String]
    /// Which host has the programs, and which gets how many bytes, where the job sends them.
    let programs: [String]
    let findings: [Finding]

    /// Asks the hosts of a job file, and prints its plan.
    ///
    /// - Throws: `ExitCode` 1 where a check fails, and what of the job does not fit its model.
    static func show(_ file: String, json: Bool) throws {
        let job = try JobConfiguration(contentsOf: file)
        let stop = StopFlag.onSignals()
        let doctor = Doctor(job, instruments: .ofThisProgram, isWhole: false, sends: false)
        var facts = try doctor.facts(topology: nil, stop: stop)
        if let signal = stop.raisedBy { throw ExitCode(.signal(signal)) }
        facts.demand = try JobDemand(of: job)
        let plan = JobPlan(facts)
        if json { try printObject(plan) } else { print(plan.text, terminator: "") }
        if plan.findings.contains(where: { $0.severity == .fail }) { throw ExitCode(.failed) }
    }

    init(_ facts: JobFacts) {
        job = facts.job.name
        cacheTokens = facts.job.limits.cacheTokens
        cacheBytesPerToken = facts.demand?.cacheBytesPerToken
        hosts = facts.hosts.map { Host($0, facts) }
        ports = Dictionary(
            facts.job.listeners.map { ($0.name, $0.endpoint.text) }, uniquingKeysWith: { $1 })
        let lab = facts.job.lab.isEmpty ? nil : facts.topology?.name
        commands = LaunchCommands.of(facts.job, hosts: facts.hosts, lab: lab)
        weights = facts.weightLines
        programs = facts.programLines
        findings = facts.launchFindings
    }

    /// The table of hosts, the ports, the commands and what the checks say.
    var text: String {
        let rows = [Self.head] + hosts.map { row($0) }
        let widths = Self.head.indices.map { column in
            (rows.map { $0[column].count }.max() ?? 0) + 2
        }
        var lines = rows.map { row in
            zip(row, widths).map { $0.padded(to: $1) }.joined()
                .replacing(/[ ]+$/, with: "")
        }
        lines.append("")
        for (name, endpoint) in ports.sorted(by: { $0.key < $1.key }) {
            lines.append("\(name): \(endpoint)")
        }
        lines.append("ranks among each other: ports that the kernel chooses")
        lines += programs.map { "programs: \($0)" }
        lines += weights.map { "weights: \($0)" }
        for command in commands {
            lines.append("")
            lines.append("on \(command.host):")
            lines += command.lines.map { "  \($0)" }
        }
        if !findings.isEmpty { lines.append("") }
        lines += findings.map(\.line)
        return lines.joined(separator: "\n") + "\n"
    }

    private static let head = [
        "host", "ranks", "experts/rank", "weights/rank", "needs", "free", "cache",
        "cache that fits",
    ]

    private func row(_ host: Host) -> [String] {
        func range(_ values: [Int], _ text: (Int) -> String) -> String {
            guard let least = values.min(), let most = values.max() else { return "-" }
            return least == most ? text(least) : "\(text(least)) to \(text(most))"
        }
        let ranks =
            host.ranks.count == 1
            ? "\(host.ranks[0])" : "\(host.ranks.first ?? 0)-\(host.ranks.last ?? 0)"
        return [
            host.name, ranks, range(host.experts) { "\($0)" },
            range(host.weightBytes) { $0.bytesText }, host.neededBytes?.bytesText ?? "-",
            host.freeBytes?.bytesText ?? "-", "\(cacheTokens) tokens",
            host.fittingTokens.map { "\($0) tokens" } ?? "-",
        ]
    }
}

extension JobPlan.Host {
    fileprivate init(_ host: CheckedHost, _ facts: JobFacts) {
        name = host.name
        ranks = Array(host.ranks)
        experts = host.ranks.compactMap { facts.demand?.experts[$0] }
        weightBytes = host.ranks.compactMap { facts.demand?.weightBytes[$0] }
        neededBytes = facts.neededBytes(host)
        freeBytes = host.survey?.memory.freeBytes
        fittingTokens = facts.fittingTokens(host)
    }
}
