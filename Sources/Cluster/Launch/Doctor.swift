import Encoding
package import Foundation
package import Topology

/// Asks every host of a job about itself and measures the links between them: a dry run.
///
/// Nothing of the job is started. The hosts are asked through the supervisors that a launch uses,
/// which leave nothing behind.
package struct Doctor {
    /// The job.
    private let job: JobConfiguration
    private let programs: URL
    private let instruments: HostInstruments
    /// Whether the links are measured, and fingerprints of files compared.
    private let isWhole: Bool
    /// Whether hosts get programs that they lack, where the job sends them; else those hosts are
    /// not examined.
    private let sends: Bool
    private let told: @Sendable (String) -> Void

    /// A dry run of a job.
    ///
    /// - Parameters:
    ///   - sends: Whether hosts get programs that they lack, where the job sends them.
    ///   - programs: The folder of the programs; nil is that of the running one.
    ///   - told: Takes lines of progress for people.
    package init(
        _ job: JobConfiguration, instruments: HostInstruments, isWhole: Bool, sends: Bool,
        programs: URL? = nil, told: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.sends = sends
        self.told = told
        self.job = job
        self.instruments = instruments
        self.isWhole = isWhole
        self.programs = programs ?? JobIdentity.ownFolder
    }

    /// Gathers the facts.
    ///
    /// A host that does not answer is a fact, too.
    ///
    /// - Throws: `ClusterError.badInput` for a lab that cannot be built.
    package func facts(topology: NodeMap?, stop: StopFlag) throws(ClusterError) -> JobFacts {
        let node = ProcessIdentity.node
        guard !job.hosts.isEmpty || !job.lab.isEmpty else {
            let survey = HostSurvey(
                of: job, part: .all, isWhole: isWhole, instruments: instruments)
            let host = CheckedHost(name: node, ranks: 0 ..< job.ranks, survey: survey)
            var facts = JobFacts(job: job, launcher: host, hosts: [host])
            facts.topology = topology
            return facts
        }
        let survey = HostSurvey(
            of: job, part: .launcher, isWhole: isWhole, instruments: instruments)
        let launcher = CheckedHost(name: node, ranks: 0 ..< 0, survey: survey)
        var facts = JobFacts(job: job, launcher: launcher, hosts: [])
        facts.topology = topology
        if job.lab.isEmpty {
            var site = SshSite(of: job, programs: programs, token: .random())
            let outcomes = site.findPrograms(sends: sends, stop: stop, told: told)
            try examine(site.open(), &facts, stop) { ready throws(ClusterError) in
                try site.findWays(by: ready)
            }
            note(outcomes, &facts)
        } else {
            var site = try LabSite(of: job)
            facts.topology = topology ?? site.map
            try site.enter(stop: stop, told: told)
            let result = Result { () throws(ClusterError) in
                try examine(
                    site.open(
                        programs: programs.path(percentEncoded: false),
                        orders: { host throws(ClusterError) in
                            try orders(for: host)
                        }), &facts, stop
                ) { _ in }
            }
            try site.leave()
            try result.get()
        }
        return facts
    }

    /// Adds what became of programs that are sent, and the hosts that could not be examined
    /// without them.
    private func note(_ outcomes: [String: ProgramSender.Outcome], _ facts: inout JobFacts) {
        let known = Dictionary(
            facts.hosts.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        facts.hosts = job.placedHosts.map { place in
            let name = place.host.name
            var host = known[name] ?? CheckedHost(name: name, ranks: place.ranks)
            switch outcomes[host.name] {
            case .success(let programs): host.programs = programs
            case .failure(let error): host.failure = host.failure ?? "\(error)"
            case nil: break
            }
            return host
        }
    }

    private func orders(for host: JobHost) throws(ClusterError) -> HostOrders {
        HostOrders(
            host: host.name, token: ControlToken.random().text, job: try job.yaml(),
            directory: "", environment: [:])
    }

    /// Asks all hosts at once, then measures their links.
    private func examine(
        _ connections: [HostConnection], _ facts: inout JobFacts, _ stop: StopFlag,
        ways: ([HostConnection]) throws(ClusterError) -> Void
    ) throws(ClusterError) {
        defer {
            for connection in connections { connection.cut() }
            let limit = ContinuousClock.now + Self.patience
            for connection in connections { connection.close(within: max(.zero, limit - .now)) }
        }
        let failures = meet(connections, stop)
        let ready = connections.filter { failures[$0.host.name] == nil }
        do throws(ClusterError) {
            try ways(ready)
        } catch {
            facts.hiddenLauncher = "\(error)"
        }
        for _ in 0 ..< Self.clockReadings {
            for connection in ready { connection.ask(.clock) }
            stop.wait(Self.clockInterval)
        }
        for connection in ready { connection.ask(.survey(isWhole: isWhole)) }
        wait(stop) { ready.allSatisfy { $0.answers.survey != nil || $0.failure != nil } }
        facts.hosts = connections.map { connection in
            var host = connection.checked
            if host.survey == nil {
                host.failure =
                    failures[host.name] ?? connection.failure
                    ?? "host \(host.label) did not say what it is like within"
                    + " \(job.deadlines.joinSeconds) s (deadlines.joinSeconds)"
            }
            return host
        }
        if isWhole, !stop.isRaised {
            let able = ready.filter { $0.answers.survey != nil }
            LinkSurvey(able).run(&facts, stop)
        }
    }

    /// Waits until every host is ready or refused; returns what is wrong, by host.
    private func meet(_ connections: [HostConnection], _ stop: StopFlag) -> [String: String] {
        var failures: [String: String] = [:]
        var waiting = connections
        wait(stop) {
            var left: [HostConnection] = []
            for connection in waiting {
                do throws(ClusterError) {
                    if try !connection.isReady() { left.append(connection) }
                } catch {
                    failures[connection.host.name] = "\(error)"
                }
            }
            waiting = left
            return waiting.isEmpty
        }
        for late in waiting {
            failures[late.host.name] = "\(late.late(job.deadlines.joinSeconds))"
        }
        return failures
    }

    private func wait(_ stop: StopFlag, until isOver: () -> Bool) {
        let limit = ContinuousClock.now + .seconds(job.deadlines.joinSeconds)
        while !isOver(), .now < limit, !stop.isRaised { stop.wait(Self.pollInterval) }
    }

    /// Short beside the start of ssh.
    private static let pollInterval = 0.02
    /// The quickest of some answers tells the time best.
    private static let clockReadings = 3
    private static let clockInterval = 0.05
    /// Longer than supervisors take to end.
    private static let patience = Duration.seconds(4)
}
