import Topology

/// What ranks need of their hosts: memory, limits, folders.
extension JobFacts {
    /// Bytes that the ranks of a host need, or at least need where the model was not read.
    package func neededBytes(_ host: CheckedHost) -> Int? {
        if let demand {
            return demand.bytes(of: host.ranks, cacheTokens: job.limits.cacheTokens)
        }
        guard let weights = host.survey?.model?.weightBytes else { return nil }
        // A rank of a group holds its share of that group's copy.
        return host.ranks.reduce(0) { sum, rank in
            sum + weights / job.groups.group(of: Rank(rawValue: rank)).members.count
        }
    }

    /// Tokens of cache that fit each rank of a host beside the weights; nil where it is unknown.
    ///
    /// Hosts that are one machine share its memory.
    package func fittingTokens(_ host: CheckedHost) -> Int? {
        guard let demand, let survey = host.survey, demand.cacheBytesPerToken > 0 else {
            return nil
        }
        let ranks = surveyed.filter { $0.survey.machine == survey.machine }.map(\.host.ranks)
        let weights = ranks.reduce(0) { $0 + demand.bytes(of: $1, cacheTokens: 0) }
        let count = ranks.reduce(0) { $0 + $1.count }
        return max(0, survey.memory.freeBytes - weights)
            / (demand.cacheBytesPerToken * max(1, count))
    }

    /// Memory that a process of the host may use at most, and may use now.
    private func memory(_ survey: HostSurvey) -> (most: Int, free: Int) {
        let group = survey.memory.groupLimitBytes ?? .max
        return (min(survey.memory.totalBytes, group), survey.memory.freeBytes)
    }

    func judgeMemory() -> Verdict {
        var verdict = Verdict(
            summary: surveyed.map { host, survey in
                let needed = neededBytes(host)?.bytesText ?? "unknown"
                return "\(host.name) needs \(needed) of \(memory(survey).free.bytesText)"
            }.joined(separator: "; "))
        // Hosts that are one machine share its memory.
        let machines = Dictionary(grouping: surveyed) { $0.survey.machine }
        for machine in machines.keys.sorted() {
            guard let all = machines[machine], let first = all.first else { continue }
            let needed = all.reduce(0) { $0 + (neededBytes($1.host) ?? 0) }
            let (most, free) = memory(first.survey)
            guard needed > free, free > 0 else { continue }
            let fact = "weights and cache need \(needed.bytesText)"
            let name = all.map(\.host.label).joined(separator: ", ")
            let remedy = "more ranks on other hosts, or a smaller limits.cacheTokens"
            verdict.findings.append(
                needed > most
                    ? .fail(
                        name,
                        "\(fact); the host has \(most.bytesText) (MemTotal, or its control group)",
                        value: needed, limit: most, remedy: remedy)
                    : .warn(
                        name, "\(fact); \(free.bytesText) are free (MemAvailable)", value: needed,
                        limit: free, remedy: remedy))
        }
        return verdict
    }

    func judgeOvercommit() -> Verdict {
        var verdict = Verdict(
            summary: "vm.overcommit_memory is \(values { "\($0.memory.overcommit)" })")
        for (host, survey) in surveyed {
            guard let left = survey.memory.commitLeftBytes, let needed = neededBytes(host),
                needed > left
            else { continue }
            verdict.findings.append(
                .fail(
                    host.label,
                    "weights and cache reserve \(needed.bytesText); the kernel allows"
                        + " \(left.bytesText) more (vm.overcommit_memory=2)",
                    value: needed, limit: left,
                    remedy: "sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio"))
        }
        return verdict
    }

    /// Where UCX keeps what ranks of one host share.
    private static let sharedNeeded = 64 << 20

    func judgeSharedMemory() -> Verdict {
        var verdict = Verdict(
            summary: surveyed.map { host, survey in
                "\(host.name) \((survey.memory.sharedFreeBytes ?? 0).bytesText) free in /dev/shm"
            }.joined(separator: "; "))
        guard job.transport == .ucx else { return verdict }
        for (host, survey) in surveyed where host.ranks.count > 1 {
            let free = survey.memory.sharedFreeBytes ?? 0
            let needed = Self.sharedNeeded * host.ranks.count
            guard free < needed else { continue }
            verdict.findings.append(
                .warn(
                    host.label,
                    "/dev/shm has \(free.bytesText) free; UCX may want"
                        + " \(needed.bytesText) for \(host.ranks.count) ranks",
                    value: free, limit: needed,
                    remedy: "mount -o remount,size=1G /dev/shm (containers: --shm-size=1g)"))
        }
        return verdict
    }

    func judgeHugePages() -> Verdict {
        Verdict(
            summary: "transparent huge pages: \(values(\.memory.hugePages))",
            findings: surveyed.filter { $0.survey.memory.hugePages == "never" }.map { host, _ in
                .warn(
                    host.label, "weights get no huge pages (transparent_hugepage is never)",
                    value: "never", limit: "madvise",
                    remedy: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
            })
    }

    /// Less than any window of a job takes.
    private static let lockedNeeded = 64 << 20

    func judgeLockedMemory() -> Verdict {
        var verdict = Verdict(
            summary: "may be locked: "
                + values { $0.limits.lockedBytes.map(\.bytesText) ?? "all memory" })
        for (host, survey) in surveyed {
            guard let limit = survey.limits.lockedBytes, limit < Self.lockedNeeded else { continue }
            let fact = "\(limit.bytesText) may be locked, and RDMA locks its windows"
            let remedy = "ulimit -l unlimited (limits.conf: memlock), also for sshd's sessions"
            if job.transport == .rdma {
                verdict.findings.append(
                    .fail(
                        host.label, fact, value: limit, limit: Self.lockedNeeded, remedy: remedy))
            } else if job.transport == .auto, survey.rdmaPorts.contains(where: \.isActive) {
                verdict.findings.append(
                    .warn(
                        host.label, "\(fact): auto takes TCP there instead", value: limit,
                        limit: Self.lockedNeeded, remedy: remedy))
            }
        }
        return verdict
    }

    func judgeLimits() -> Verdict {
        var verdict = Verdict(
            summary: "open files: \(values { $0.limits.openFiles.map { "\($0)" } ?? "no limit" })"
                + ", processes of the control group: "
                + values { $0.limits.processes.map { "\($0)" } ?? "no limit" })
        for (host, survey) in surveyed {
            let planes = max(1, devices(host).count)
            // A connection per rank and plane, beside what a process holds anyway.
            let files = 64 + 2 * job.ranks * planes
            if let most = survey.limits.openFiles, most < files {
                verdict.findings.append(
                    .fail(
                        host.label, "a rank opens up to \(files) files; the limit is \(most)",
                        value: most, limit: files, remedy: "raise the hard limit: ulimit -Hn"))
            }
            let threads = host.ranks.count * (job.threads + 16)
            if let most = survey.limits.processes, most < threads {
                verdict.findings.append(
                    .fail(
                        host.label,
                        "ranks start up to \(threads) threads; the control group allows \(most)"
                            + " (pids.max)", value: most, limit: threads,
                        remedy: "raise pids.max (containers: --pids-limit)"))
            }
        }
        return verdict
    }
}
