package import Topology

/// A host of a job with what is known of it.
package struct CheckedHost: Codable, Equatable, Sendable {
    /// As the job names it.
    package var name: String
    /// The numbers of its ranks; empty for a machine that only launches.
    package var ranks: Range<Int>
    /// Nil where the host did not answer.
    package var survey: HostSurvey?
    /// Why it did not answer, in one line with the remedy.
    package var failure: String?
    /// Seconds by which the host's clock is ahead of the launcher's, and how far off that may be.
    package var clockOffset: Double?
    package var clockError: Double?
    /// What it has of programs that the launcher sends; nil where it sends none.
    package var programs: HostPrograms?

    /// A host of which nothing is known yet.
    package init(name: String, ranks: Range<Int>, survey: HostSurvey? = nil) {
        self.name = name
        self.ranks = ranks
        self.survey = survey
    }

    /// Whether ranks run there.
    var isHost: Bool { !ranks.isEmpty }

    /// The host with its ranks, as every message names it.
    package var label: String {
        guard let last = ranks.last else { return "\(name) (launcher)" }
        return ranks.count == 1
            ? "\(name) (rank \(last))" : "\(name) (ranks \(ranks.lowerBound) to \(last))"
    }
}

/// What each rank of a job holds, computed from the model by a room that this one does not see.
package struct JobDemand: Codable, Equatable, Sendable {
    /// Routed experts of a layer, by rank.
    package var experts: [Int]
    /// Bytes of weights, by rank.
    package var weightBytes: [Int]
    /// Bytes that one token takes in the latent cache of a rank.
    package var cacheBytesPerToken: Int

    /// What ranks hold, in order of the ranks.
    package init(experts: [Int], weightBytes: [Int], cacheBytesPerToken: Int) {
        self.experts = experts
        self.weightBytes = weightBytes
        self.cacheBytesPerToken = cacheBytesPerToken
    }

    /// Weights and cache of some ranks.
    func bytes(of ranks: Range<Int>, cacheTokens: Int) -> Int {
        ranks.filter { weightBytes.indices.contains($0) }
            .reduce(0) { $0 + weightBytes[$1] + cacheTokens * cacheBytesPerToken }
    }
}

/// The facts that rules judge: a job, its hosts and the links between them.
///
/// Rules are pure: facts in, findings out. They neither ask a host nor read a file.
package struct JobFacts: Sendable {
    package var job: JobConfiguration
    /// The machine of the coordinator; it may be one of the hosts.
    package var launcher: CheckedHost
    package var hosts: [CheckedHost]
    package var links: [LinkMeasurement] = []
    /// How the machines are wired, where a file says so.
    package var topology: NodeMap?
    /// Nil where the model was not read.
    package var demand: JobDemand?
    /// Why the hosts cannot find the launcher.
    package var hiddenLauncher: String?

    /// Facts without links.
    package init(job: JobConfiguration, launcher: CheckedHost, hosts: [CheckedHost]) {
        self.job = job
        self.launcher = launcher
        self.hosts = hosts
    }

    /// Every rule, in the order in which findings are shown.
    private static let rules: [(name: String, judge: @Sendable (JobFacts) -> Verdict)] = [
        ("hosts", { $0.judgeHosts() }), ("programs", { $0.judgePrograms() }),
        ("processor", { $0.judgeProcessor() }), ("cores", { $0.judgeCores() }),
        ("model", { $0.judgeModel() }), ("memory", { $0.judgeMemory() }),
        ("reserve", { $0.judgeOvercommit() }), ("shm", { $0.judgeSharedMemory() }),
        ("pages", { $0.judgeHugePages() }), ("memlock", { $0.judgeLockedMemory() }),
        ("limits", { $0.judgeLimits() }), ("folders", { $0.judgeFolders() }),
        ("clock", { $0.judgeClocks() }), ("ports", { $0.judgePorts() }),
        ("names", { $0.judgeNames() }), ("network", { $0.judgeNetwork() }),
        ("devices", { $0.judgeDevices() }),
        ("rdma", { $0.judgeRDMA() }), ("links", { $0.judgeLinks() }),
        ("packets", { $0.judgePackets() }), ("rates", { $0.judgeRates() }),
    ]

    /// What the rules say.
    ///
    /// A rule that finds nothing gives one line that passes, or none where it had nothing to judge.
    package var findings: [Finding] {
        Self.rules.flatMap { rule in
            let verdict = rule.judge(self)
            let ofLauncher = ["folders", "ports"].contains(rule.name)
            var all = verdict.findings
            if all.isEmpty, !verdict.summary.isEmpty, !surveyed.isEmpty || ofLauncher {
                all = [Finding(severity: .pass, host: "", fact: verdict.summary)]
            }
            return all.map { finding in
                var named = finding
                named.check = rule.name
                return named
            }
        }
    }

    /// What a launch says before it starts ranks.
    ///
    /// Ranks of a tutorial share cores on purpose, and a machine without huge pages is slow, not
    /// wrong.
    package var launchFindings: [Finding] {
        findings.filter { $0.severity != .pass && !["cores", "pages"].contains($0.check) }
    }

    /// Hosts that answered, with what they said.
    var surveyed: [(host: CheckedHost, survey: HostSurvey)] {
        hosts.compactMap { host in host.survey.map { (host, $0) } }
    }

    /// Every machine that answered: the hosts, and the launcher where it is none of them.
    var everywhere: [(host: CheckedHost, survey: HostSurvey)] {
        guard let survey = launcher.survey, !launcher.isHost else { return surveyed }
        return surveyed + [(launcher, survey)]
    }

    /// Values of all hosts, each once, for a summary.
    func values(_ value: (HostSurvey) -> String) -> String {
        Set(surveyed.map { value($0.survey) }).sorted().joined(separator: ", ")
    }
}
