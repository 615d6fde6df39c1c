import Topology

/// Where processes write and listen: folders, ports, names, clocks.
extension JobFacts {
    /// Logs of a job that runs for a day.
    private static let freeNeeded = 64 << 20

    func judgeFolders() -> Verdict {
        var verdict = Verdict(
            summary: Set(everywhere.flatMap(\.survey.folders).map(\.path)).sorted()
                .joined(separator: ", ") + " can be written")
        for (host, survey) in everywhere {
            for folder in survey.folders {
                let free = folder.freeBytes ?? .max
                if !folder.isWritable {
                    verdict.findings.append(
                        .fail(
                            host.label, "\(folder.path) cannot be written",
                            remedy: folder.remedy))
                } else if free < Self.freeNeeded {
                    let fact = "\(folder.path) has \(free.bytesText) free"
                    verdict.findings.append(
                        free < 1 << 20
                            ? .fail(
                                host.label, fact, value: free, limit: 1 << 20,
                                remedy: "make room, or \(folder.remedy)")
                            : .warn(
                                host.label, fact, value: free, limit: Self.freeNeeded,
                                remedy: "make room, or \(folder.remedy)"))
                }
            }
        }
        return verdict
    }

    /// Logs of all hosts are shown in order of time.
    private static let mostClockSeconds = 1.0

    func judgeClocks() -> Verdict {
        let offsets = hosts.compactMap(\.clockOffset).map(\.magnitude)
        let most = (offsets.max() ?? 0).formatted(digits: 3)
        var verdict = Verdict(
            summary: offsets.isEmpty
                ? "" : "clocks differ by at most \(most) s from the launcher's")
        for host in hosts {
            guard let offset = host.clockOffset,
                offset.magnitude - (host.clockError ?? 0) > Self.mostClockSeconds
            else { continue }
            let seconds = offset.magnitude.formatted(digits: 1)
            verdict.findings.append(
                .warn(
                    host.label,
                    "its clock is \(seconds) s \(offset > 0 ? "ahead of" : "behind") the"
                        + " launcher's: apus logs shows lines in order of time",
                    value: offset.formatted(digits: 3), limit: Self.mostClockSeconds,
                    remedy: "start chrony or systemd-timesyncd there"))
        }
        return verdict
    }

    func judgePorts() -> Verdict {
        let known = job.listeners.map { "\($0.name) \($0.endpoint.text)" }
        return Verdict(
            summary: "free: \(known.joined(separator: ", "))",
            findings: (launcher.survey?.takenPorts ?? []).map { words in
                .fail(launcher.label, words, remedy: "name another port, or 0 for any free one")
            })
    }

    func judgeNames() -> Verdict {
        let names = Set(everywhere.flatMap { $0.survey.names.keys }).sorted()
        var verdict = Verdict(
            summary: names.isEmpty
                ? "the job listens by numeric addresses"
                : "\(names.joined(separator: ", "))"
                    + " can be resolved")
        for (host, survey) in everywhere {
            for (name, number) in survey.names.sorted(by: { $0.key < $1.key }) {
                guard !name.hasPrefix("localhost") else { continue }
                let remedy = "give an address of the network that the machines share"
                let isControl = name == job.control.address
                if number.isEmpty {
                    guard isControl || host == launcher else { continue }
                    verdict.findings.append(
                        .fail(host.label, "the name \(name) has no address there", remedy: remedy))
                } else if Endpoint.isLoopback(number) {
                    let fact =
                        "the name \(name) is \(number) there (/etc/hosts), which no other machine"
                        + " reaches"
                    if isControl, hosts.count > 1 || !job.hosts.isEmpty {
                        verdict.findings.append(
                            .fail(host.label, fact, value: number, remedy: remedy))
                    } else if host == launcher {
                        verdict.findings.append(
                            .warn(host.label, fact, value: number, remedy: remedy))
                    }
                }
            }
        }
        return verdict
    }
}
