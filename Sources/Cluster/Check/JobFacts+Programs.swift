import Topology

/// What runs on the hosts: programs, processors, the model.
extension JobFacts {
    func judgeHosts() -> Verdict {
        let places = hosts.count == 1 ? "1 host answers" : "\(hosts.count) hosts answer"
        return Verdict(
            summary: "\(places), \(job.ranks) ranks",
            findings: hosts.filter { $0.survey == nil }.map { host in
                if host.failure == nil, let programs = host.programs, programs.missingBytes > 0 {
                    return Finding.warn(
                        host.label,
                        "it does not have the programs yet, so the checks of it are left out",
                        value: programs.missingBytes,
                        remedy: "apus launch and apus doctor send them")
                }
                // The words of a connection name the host, its ranks and the remedy themselves.
                return Finding.fail("", host.failure ?? "\(host.label) said nothing", remedy: "")
            } + [hiddenLauncher].compactMap { $0 }.map { .fail("", $0, remedy: "") })
    }

    func judgePrograms() -> Verdict {
        var verdict = Verdict(
            summary: "apus \(ApusVersion.current), control plane \(ControlProtocol.version)"
                + (values(\.build).isEmpty ? "" : ", build \(values(\.build))"))
        let own = launcher.survey?.build ?? ""
        for (host, survey) in surveyed {
            if survey.version != ApusVersion.current
                || survey.protocolVersion != ControlProtocol.version
            {
                let theirs = "apus \(survey.version), control plane \(survey.protocolVersion)"
                verdict.findings.append(
                    .fail(
                        host.label,
                        "its programs are \(theirs); the launcher's are apus"
                            + " \(ApusVersion.current), control plane \(ControlProtocol.version)",
                        value: survey.version, limit: ApusVersion.current,
                        remedy: "install the same build there"))
            } else if host.programs == nil, survey.build != own,
                !own.isEmpty, !survey.build.isEmpty
            {
                verdict.findings.append(
                    .fail(
                        host.label,
                        "apus-worker is another build: \(survey.build), the launcher's is \(own)",
                        value: survey.build, limit: own, remedy: "install the same build there"))
            }
        }
        return verdict
    }

    func judgeProcessor() -> Verdict {
        let levels = Set(surveyed.map(\.survey.processorLevel))
        // A launcher without kernels does not know what they would use.
        let summary = levels == [""] ? "" : "kernels use \(values(\.processorLevel))"
        guard levels.count > 1 else { return Verdict(summary: summary) }
        let each = surveyed.map { "\($0.host.name) \($0.survey.processorLevel)" }
        return Verdict(
            summary: summary,
            findings: [
                .warn(
                    "",
                    "kernels differ: \(each.joined(separator: ", ")); the slowest host sets"
                        + " the pace, and ranks sum as all of them can",
                    value: values(\.processorLevel),
                    remedy: "APUS_CPU gives all ranks one level")
            ])
    }

    func judgeCores() -> Verdict {
        var verdict = Verdict(
            summary: surveyed.map { host, survey in
                "\(host.name) \(survey.cores) cores, \(survey.numaDomains) NUMA"
            }.joined(separator: "; "))
        for (host, survey) in surveyed {
            let needed = host.ranks.count * job.threads
            let group = survey.limits.cores ?? Double(survey.cores)
            guard Double(needed) > min(Double(survey.cores), group) else { continue }
            let isGroup = group < Double(survey.cores)
            let limit = isGroup ? group.formatted(digits: 1) : "\(survey.cores)"
            verdict.findings.append(
                .warn(
                    host.label,
                    "\(host.ranks.count) ranks of \(job.threads) threads share \(limit) cores"
                        + (isGroup ? " (cpu.max of the control group)" : ""),
                    value: needed, limit: limit, remedy: "lower threads or the host's ranks"))
        }
        return verdict
    }

    func judgeModel() -> Verdict {
        guard case .serve(let serving) = job.work else {
            return Verdict(summary: "the job trains: no model is read")
        }
        var verdict = Verdict(
            summary: "the same \(launcher.survey?.model?.files.count ?? 0) files everywhere,"
                + " \((launcher.survey?.model?.weightBytes ?? 0).bytesText) of weights"
                + receivers.map { "; \($0.name) receives its share" }.joined())
        let own = launcher.survey?.model
        for (host, survey) in everywhere {
            guard let model = survey.model, !receives(host, survey) else { continue }
            if let fault = model.faults.first {
                verdict.findings.append(
                    .fail(
                        host.label, "model \(model.path): \(fault)", value: fault,
                        remedy: "copy \(serving.model) there again, or name its folder by model"
                            + (model.isAbsent
                                ? ", or let hosts receive what they need by weightFolder" : "")))
            } else if let own, own.faults.isEmpty, let name = Self.difference(own, model) {
                verdict.findings.append(
                    .fail(
                        host.label,
                        "model \(model.path): \(name) is \(model.files[name] ?? "not there"), the"
                            + " launcher's is \(own.files[name] ?? "not there")",
                        value: model.files[name] ?? "", limit: own.files[name] ?? "",
                        remedy: "copy \(serving.model) there again"))
            }
        }
        return verdict
    }

    /// Which host has the programs, and which gets how many bytes, a line each; none where the job
    /// sends no programs.
    package var programLines: [String] {
        hosts.compactMap { host in
            guard let programs = host.programs else { return nil }
            let name = "\(programs.architecture), \(programs.digest.prefix(12))"
            return programs.missingBytes == 0
                ? "\(host.name) has them (\(name)) in \(programs.folder)"
                : "\(host.name) gets \(programs.missingBytes.bytesText) (\(name))"
        }
    }

    /// Whether a host has no model and may receive what its ranks hold.
    private func receives(_ host: CheckedHost, _ survey: HostSurvey) -> Bool {
        job.serving?.weightFolder.isEmpty == false && survey.model?.isAbsent == true && host.isHost
            && host != launcher
    }

    /// Hosts that receive what their ranks hold.
    private var receivers: [CheckedHost] {
        surveyed.filter { receives($0.host, $0.survey) }.map(\.host)
    }

    /// Which host reads the model where, and receives it from whom, a line each.
    package var weightLines: [String] {
        guard let serving = job.serving, !serving.weightFolder.isEmpty else { return [] }
        let receiving = Set(receivers.map(\.name))
        let givers = surveyed.filter {
            !receiving.contains($0.host.name) && $0.host != launcher
                && $0.survey.model?.faults.isEmpty == true
        }.map(\.host.name)
        let sources = givers + (job.lab.isEmpty ? ["the launcher"] : [])
        return surveyed.map { host, survey in
            guard receiving.contains(host.name) else {
                return "\(host.name) reads \(survey.model?.path ?? serving.model)"
            }
            let count = demand.map { $0.bytes(of: host.ranks, cacheTokens: 0) }
            return "\(host.name) receives \(count.map { "at most \($0.bytesText)" } ?? "its share")"
                + " into \(serving.weightFolder) from \(sources.joined(separator: ", "))"
        }
    }

    /// The first file that differs.
    private static func difference(
        _ one: HostSurvey.Model, _ other: HostSurvey.Model
    ) -> String? {
        Set(one.files.keys).union(other.files.keys).sorted()
            .first { one.files[$0] != other.files[$0] }
    }
}
