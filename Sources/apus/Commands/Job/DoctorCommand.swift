import ArgumentParser
import Cluster
import Foundation
import Topology

/// Examines the machines of a job and the links between them, before anything is started.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks the hosts of a job and the links between them; starts nothing.",
        discussion: """
            Asks every host by the way that apus launch takes: programs, processor, memory, \
            limits, model, devices, ports, names, clock; then measures every pair of hosts. Prints \
            PASS, WARN or FAIL with the remedy. Exits with 0, with 1 when a check fails, with 2 \
            when the job file is wrong.

              apus doctor job.yaml
              apus doctor job.yaml --topology topology/two-nodes-10g.yaml --json
            """)

    @Argument(help: "A job file: see cluster/job.schema.json.") var job: String
    @Option(help: "A topology file, whose rates the measured ones are held against.")
    var topology: String?
    @Flag(help: "Do not measure links, and compare sizes of files alone.") var quick = false
    @Flag(help: "Print one JSON object: findings, hosts and links.") var json = false

    func run() throws {
        try reporting {
            let configuration = try JobConfiguration(contentsOf: job)
            let map = try topology.map { try NodeMap(contentsOf: $0) }
            let stop = StopFlag.onSignals()
            let doctor = Doctor(
                configuration, instruments: .ofThisProgram, isWhole: !quick, sends: true,
                told: { StandardStream.error.say($0 + "\n") })
            var facts = try doctor.facts(topology: map, stop: stop)
            if let signal = stop.raisedBy { throw ExitCode(.signal(signal)) }
            facts.demand = try JobDemand(of: configuration)
            let report = DoctorPrint(facts)
            if json { try printObject(report) } else { print(report.text, terminator: "") }
            if report.failures > 0 { throw ExitCode(.failed) }
        }
    }
}

/// What `apus doctor` prints.
private struct DoctorPrint: Encodable {
    let job: String
    let failures: Int
    let warnings: Int
    let findings: [Finding]
    let launcher: CheckedHost
    let hosts: [CheckedHost]
    let links: [LinkMeasurement]

    /// Judges the facts.
    init(_ facts: JobFacts) {
        let report = DoctorReport(facts)
        job = report.job
        findings = report.findings
        failures = report.failures
        warnings = report.warnings
        launcher = facts.launcher
        hosts = facts.hosts
        links = facts.links
    }

    /// Lines of all rules, then the links, then the counts.
    var text: String {
        var lines = findings.map(\.line)
        for device in Set(links.map(\.device)).sorted() { lines += matrix(device) }
        let passed = findings.count - failures - warnings
        let counts = [(warnings, "warning"), (failures, "failure")].map { count, name in
            "\(count) \(name)\(count == 1 ? "" : "s")"
        }
        lines.append("\(passed) passed, \(counts.joined(separator: ", "))")
        return lines.joined(separator: "\n") + "\n"
    }

    /// Latency and rate from every host to every other.
    private func matrix(_ device: String) -> [String] {
        let some = links.filter { $0.device == device }
        let names = hosts.map(\.name).filter { name in
            some.contains { $0.from == name || $0.to == name }
        }
        let width = max(16, (names.map(\.count).max() ?? 0) + 2)
        let title = device.isEmpty ? "links" : "links over \(device)"
        var lines = ["\(title): round trip in us / Gbit/s, from a row to a column"]
        lines.append("".padded(to: width) + names.map { $0.padded(to: width) }.joined())
        for from in names {
            let cells = names.map { cell(from, $0, some).padded(to: width) }
            lines.append(from.padded(to: width) + cells.joined())
        }
        return lines
    }

    private func cell(_ from: String, _ to: String, _ some: [LinkMeasurement]) -> String {
        for link in some {
            let rate: Double?
            switch (link.from, link.to) {
            case (from, to): rate = link.forwardRate
            case (to, from): rate = link.backwardRate
            default: continue
            }
            guard link.failure == nil else { return "fails" }
            let trip = link.roundTripSeconds.map { String(format: "%.0f", $0 * 1e6) } ?? "-"
            let speed = rate.map { String(format: "%.2f", $0 * 8 / 1e9) } ?? "-"
            return "\(trip) / \(speed)"
        }
        return "-"
    }
}
