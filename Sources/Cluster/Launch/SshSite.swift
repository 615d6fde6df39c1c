import Encoding
import Foundation
import Glibc
import Topology

/// Machines that the user's own ssh reaches: one supervisor on each runs the ranks of that host.
///
/// The coordinator and the API run beside the launcher. The supervisors live as long as the
/// connection; nothing is left on a host when the launcher is gone.
struct SshSite: Site {
    private let job: JobConfiguration
    private let programs: URL
    private let token: ControlToken
    private var connections: [HostConnection] = []
    /// The launcher's address for every host, in their order.
    private var ways: [String] = []
    private var listening: Endpoint?
    /// What hosts have of programs that are sent, by their names.
    private(set) var sent: [String: HostPrograms] = [:]

    /// The hosts of a job.
    init(of job: JobConfiguration, programs: URL, token: ControlToken) {
        self.job = job
        self.programs = programs
        self.token = token
    }

    /// Sends programs to hosts that lack them, connects to every host at once, and checks the
    /// programs there.
    mutating func enter(stop: StopFlag, told: (String) -> Void) throws(ClusterError) {
        let outcomes = findPrograms(sends: true, stop: stop, told: told)
        for host in job.hosts { _ = try outcomes[host.name]?.get() }
        guard !stop.isRaised else { return }
        connections = try open()
        let limit = ContinuousClock.now + .seconds(job.deadlines.joinSeconds)
        var waiting = connections
        while !waiting.isEmpty, !stop.isRaised {
            var left: [HostConnection] = []
            for connection in waiting where try !connection.isReady() { left.append(connection) }
            waiting = left
            guard let late = waiting.first else { break }
            guard .now < limit else { throw late.late(job.deadlines.joinSeconds) }
            stop.wait(Self.pollInterval)
        }
        if !stop.isRaised { try findWays() }
    }

    /// Finds out which hosts have the launcher's programs, where the job sends them.
    ///
    /// - Parameter sends: Whether hosts that lack them get them.
    /// - Returns: What became of each host that is to have them, by its name.
    mutating func findPrograms(
        sends: Bool, stop: StopFlag, told: (String) -> Void
    ) -> [String: ProgramSender.Outcome] {
        guard job.programs == .copy else { return [:] }
        let outcomes = ProgramSender(job, programs: programs).run(
            sends: sends, stop: stop, told: told)
        sent = outcomes.compactMapValues { try? $0.get() }
        return outcomes
    }

    /// Starts a connection to every host that has programs.
    func open() throws(ClusterError) -> [HostConnection] {
        // A connection that breaks is an error of the write, and no signal.
        signal(SIGPIPE, SIG_IGN)
        var opened: [HostConnection] = []
        for (host, ranks) in job.placedHosts {
            do throws(ClusterError) {
                guard let programs = folder(of: host) else { continue }
                opened.append(
                    try HostConnection(
                        host, ranks: ranks, shell: job.ssh, programs: programs,
                        orders: orders(for: host)))
            } catch {
                for connection in opened { connection.cut() }
                throw error
            }
        }
        return opened
    }

    /// What the hosts say of themselves: those that answer within a limit.
    func surveyed(stop: StopFlag) -> [CheckedHost] {
        for connection in connections { connection.ask(.survey(isWhole: false)) }
        let limit = ContinuousClock.now + Self.surveyLimit
        while connections.contains(where: { $0.answers.survey == nil }), .now < limit,
            !stop.isRaised
        { stop.wait(Self.pollInterval) }
        return connections.map(\.checked).filter { $0.survey != nil }.map { host in
            var host = host
            host.programs = sent[host.name]
            return host
        }
    }

    /// A host that is slower than this says at the join what is wrong.
    private static let surveyLimit = Duration.seconds(2)

    /// Finds where the coordinator listens, and by which address each host reaches it.
    ///
    /// A host's own connection shows the way back. Where the job names an address that other
    /// machines reach, that is the way; where it names a network, the launcher's address in it.
    private mutating func findWays() throws(ClusterError) { try findWays(by: connections) }

    /// Finds the ways by connections that are ready.
    mutating func findWays(by connections: [HostConnection]) throws(ClusterError) {
        guard job.control.isLoopback || job.control.isUnspecified || job.control.isPath else {
            ways = connections.map { _ in job.control.address }
            return
        }
        let port = job.control.isPath ? 0 : job.control.port
        if let own = try job.ownAddress(as: "\(ProcessIdentity.node) (launcher)") {
            ways = connections.map { _ in own.address }
            listening = Endpoint(address: own.address, port: port)
            return
        }
        ways = connections.map(\.client)
        for (way, connection) in zip(ways, connections)
        where !Endpoint(address: way, port: 0).isOfThisMachine {
            throw connection.hiddenLauncher()
        }
        // A host that is this machine gets an address that the other ranks reach, too.
        let isLocal = { (way: String) in Endpoint(address: way, port: 0).isLoopback }
        if let outer = ways.first(where: { !isLocal($0) }) {
            ways = ways.map { isLocal($0) ? outer : $0 }
        }
        let isOne = Set(ways).count == 1 && !job.control.isUnspecified
        let wide = ways.contains { $0.contains(":") } ? "::" : "0.0.0.0"
        listening = Endpoint(address: isOne ? ways[0] : wide, port: port)
    }

    /// Short beside the start of ssh.
    private static let pollInterval = 0.02

    /// The folder of a host's programs; nil where they are to be sent and are not there.
    private func folder(of host: JobHost) -> String? {
        if job.sendsPrograms(to: host) {
            return sent[host.name].flatMap { $0.missingBytes == 0 ? $0.folder : nil }
        }
        let named = host.programs.isEmpty ? job.ssh.programs : host.programs
        return named.isEmpty ? programs.path(percentEncoded: false).trimmedSlash : named
    }

    private func orders(for host: JobHost) throws(ClusterError) -> HostOrders {
        var own = job
        own.hosts = []
        own.ssh = SecureShell()
        own.programs = .path
        own.tokenFile = ""
        switch own.work {
        case .serve(var serving):
            if !host.model.isEmpty { serving.model = host.model }
            own.work = .serve(serving)
        case .train(var training):
            if !host.train.isEmpty { training.file = host.train }
            own.work = .train(training)
        }
        var environment = host.environment
        if let programs = sent[host.name], !programs.isOwn {
            // The launcher knows that build by its digest; the coordinator knows its own alone.
            let worker = self.programs.appending(path: "apus-worker")
            environment[JobIdentity.buildVariable] = try Fingerprint.ofFile(
                worker.path(percentEncoded: false))
        }
        return HostOrders(
            host: host.name, token: token.text, job: try own.yaml(), directory: host.directory,
            environment: environment)
    }

    /// The one address that leads back from every host, or all where there are several.
    func control(of folder: JobFolder) -> Endpoint? { listening }

    /// The launcher starts every rank.
    func place(_ worker: Command, as rank: Rank) -> Command? { worker }

    /// Asks the supervisor of the rank's host to start it.
    func start(
        _ worker: Command, as rank: Rank, control: Endpoint, output: FileHandle
    ) throws(ClusterError) -> any RunningProcess {
        let index = connections.firstIndex { $0.ranks.contains(rank.rawValue) }
        guard let index else {
            preconditionFailure("\(rank) is on none of \(connections.count) hosts")
        }
        return connections[index].start(
            rank.rawValue, control: Endpoint(address: ways[index], port: control.port),
            log: output)
    }

    /// Ends the supervisors, and with them what still runs on their hosts.
    mutating func leave() {
        for connection in connections { connection.cut() }
        let limit = ContinuousClock.now + Self.patience
        for connection in connections { connection.close(within: max(.zero, limit - .now)) }
        connections = []
    }

    /// Longer than supervisors give their ranks.
    private static let patience = Duration.seconds(4)
}

extension String {
    /// A folder's path without a slash at its end.
    fileprivate var trimmedSlash: String {
        count > 1 && hasSuffix("/") ? String(dropLast()) : self
    }
}
