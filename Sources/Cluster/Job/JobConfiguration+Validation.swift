import Topology

extension JobConfiguration {
    /// Checks every field against its limit.
    ///
    /// - Throws: `ClusterError.badInput` with the file, the field, the value and the limit.
    public func validate(path: String) throws(ClusterError) {
        func fail(_ reason: String) -> ClusterError { .badInput("\(path): \(reason)") }
        guard Self.isPlain(name), name.utf8.count <= 64 else {
            throw fail("name \"\(name)\" must be 1 to 64 letters, digits or dashes")
        }
        try validateWork(fail)
        try validateHosts(path: path)
        try validateNetwork(fail)
        guard (1 ... Self.mostThreads).contains(threads) else {
            throw fail("threads \(threads) is not 1 to \(Self.mostThreads)")
        }
        guard TransportKind.betweenProcesses.contains(transport) else {
            throw fail(Self.unknown(transport: transport.rawValue))
        }
        for (field, endpoint) in [("control", control), ("http", http)]
        where !(0 ... 65535).contains(endpoint.port) {
            throw fail("\(field).port \(endpoint.port) is not 0 to 65535")
        }
        for (field, endpoint) in [("control", control), ("http", http)] {
            guard !endpoint.address.isEmpty,
                !endpoint.address.contains(where: { $0.isWhitespace || "[]/".contains($0) })
                    || (field == "control" && endpoint.isPath)
            else {
                throw fail(
                    "\(field).address \"\(endpoint.address)\" is neither an address nor a name")
            }
        }
        for (field, seconds) in deadlines.all where !(seconds > 0 && seconds <= Self.longestWait) {
            throw fail("deadlines.\(field) \(seconds) is not above 0 and at most one day")
        }
        let wait = deadlines.coordinatorSeconds
        guard wait == 0 || (Self.shortestTakeOver ... Self.longestWait).contains(wait) else {
            throw fail(
                "deadlines.coordinatorSeconds \(wait) is neither 0 nor 5 to 86400: to notice the"
                    + " loss and to start another coordinator takes seconds")
        }
        guard deadlines.silenceSeconds >= 1 else {
            throw fail(
                "deadlines.silenceSeconds \(deadlines.silenceSeconds) is below 1:"
                    + " heartbeats come twice a second")
        }
        guard (1 ... 1 << 32).contains(limits.cacheTokens) else {
            throw fail("limits.cacheTokens \(limits.cacheTokens) is not 1 to \(1 << 32)")
        }
        guard (0 ... 1 << 24).contains(limits.contextTokens) else {
            throw fail("limits.contextTokens \(limits.contextTokens) is not 0 to \(1 << 24)")
        }
    }

    /// The fact that ranks of a job cannot be joined by a transport, and what can.
    static func unknown(transport: String) -> String {
        let known = TransportKind.betweenProcesses.map(\.rawValue).joined(separator: ", ")
        return "transport \"\(transport)\" is unknown: \(known)"
    }

    /// Every group does the job's work, and that work has what it needs.
    private func validateWork(_ fail: (String) -> ClusterError) throws(ClusterError) {
        switch work {
        case .serve(let serving):
            guard !serving.model.isEmpty else { throw fail("model is missing") }
            try validatePlacement(serving, fail)
        case .train(let training):
            guard !training.file.isEmpty else { throw fail("train.file is missing") }
            guard groups.groups.count == 1 else {
                throw fail("\(groups.groups.count) groups: the ranks of a training job are one")
            }
        }
        try validateRoles(fail)
    }

    /// Every group does the job's work; a job that serves either has groups that each do all of
    /// it, or some that prefill and some that decode.
    private func validateRoles(_ fail: (String) -> ClusterError) throws(ClusterError) {
        let hasParts = groups.groups.contains { $0.role == .prefill || $0.role == .decode }
        let roles: Set<RankRole> =
            hasParts && work.role == .serve ? [.prefill, .decode] : [work.role]
        for (index, group) in groups.groups.enumerated() where !roles.contains(group.role) {
            throw fail(
                roles.contains(.prefill)
                    ? "groups[\(index)].role \(group.role) stands beside prefill and decode: the"
                        + " groups of a job all serve, or some prefill and the others decode"
                    : "groups[\(index)].role \(group.role): the ranks of this job \(work.role)")
        }
        guard hasParts else { return }
        func count(_ role: RankRole) -> Int {
            groups.groups.reduce(0) { $1.role == role ? $0 + $1.rankCount : $0 }
        }
        let (prefill, decode) = (count(.prefill), count(.decode))
        for (role, ranks, other) in [
            (RankRole.prefill, prefill, RankRole.decode), (.decode, decode, .prefill),
        ] where ranks == 0 {
            throw fail(
                "no group of groups has the role \(role): its ranks and those that \(other) need"
                    + " each other; add one, or let all groups serve")
        }
        guard max(prefill, decode) <= Self.mostLinkedRanks else {
            throw fail(
                "\(prefill) ranks prefill and \(decode) decode: each is linked to all of the other"
                    + " role, of which there are at most \(Self.mostLinkedRanks)")
        }
    }

    /// Each link has a window of 16 MiB and two threads on each side.
    private static let mostLinkedRanks = 64

    /// Limits alone: how many copies of experts there are is checked against the model where that
    /// is read.
    private func validatePlacement(
        _ serving: ServingWork, _ fail: (String) -> ClusterError
    ) throws(ClusterError) {
        guard (0 ... Self.mostRedundantExperts).contains(serving.redundantExperts) else {
            throw fail(
                "redundantExperts \(serving.redundantExperts) is not 0 to"
                    + " \(Self.mostRedundantExperts)")
        }
        for (key, bytes) in [
            ("prefixBytes", serving.prefixBytes), ("weightBytes", serving.weightBytes),
        ] where !Self.folderBytes.contains(bytes) {
            throw fail(
                "\(key) \(bytes) is not \(Self.folderBytes.lowerBound) to"
                    + " \(Self.folderBytes.upperBound)")
        }
        for (key, seconds) in [
            ("rebalance", serving.rebalanceSeconds),
            ("rebalanceRoles", serving.rebalanceRolesSeconds),
        ] where seconds != 0 && !(1 ... Self.longestWait).contains(seconds) {
            throw fail("\(key) \(seconds) is neither 0 nor 1 to 86400 seconds")
        }
        try validateRoleChanges(serving, fail)
        guard serving.rebalanceSeconds == 0 || serving.onLostRank == .goOn else {
            throw fail("rebalance: a job with onLostRank: end has one epoch")
        }
    }

    /// A group may leave a role where another one has it, too.
    private func validateRoleChanges(
        _ serving: ServingWork, _ fail: (String) -> ClusterError
    ) throws(ClusterError) {
        guard serving.rebalanceRolesSeconds > 0 else { return }
        guard groups.handsOver else {
            throw fail("rebalanceRoles: no group of this job has the role prefill or decode")
        }
        guard groups.groups.count > 2 else {
            throw fail(
                "rebalanceRoles: each role has one group, which never leaves it; write a group for"
                    + " each part that may change")
        }
        let ranks = groups.rankCount - (groups.groups.map(\.rankCount).min() ?? 0)
        guard ranks <= Self.mostLinkedRanks else {
            throw fail(
                "rebalanceRoles: \(ranks) ranks may come to have one role, and each is linked to"
                    + " all of the other, of which there are at most \(Self.mostLinkedRanks)")
        }
    }

    /// A folder of a few blocks keeps nothing; more than a pebibyte is a mistake of units.
    private static let folderBytes = 1 << 20 ... 1 << 50
    /// Far above what any model has on the largest job.
    private static let mostRedundantExperts = 1 << 20

    /// Hosts are told apart by name and by where ssh connects, and have the job's ranks.
    private func validateHosts(path: String) throws(ClusterError) {
        guard !hosts.isEmpty else {
            guard programs == .path else {
                throw .badInput("\(path): programs: copy sends them to hosts: the job has none")
            }
            return
        }
        guard programs == .path || ssh.programs.isEmpty else {
            throw .badInput(
                "\(path): programs: copy and ssh.programs \(ssh.programs): hosts have the programs"
                    + " from one of them")
        }
        for host in hosts {
            try host.validate(path: path)
            let isForeign = serving == nil ? !host.model.isEmpty : !host.train.isEmpty
            guard !isForeign else {
                throw .badInput(
                    "\(path): host \(host.name): "
                        + (serving == nil
                            ? "model is of a job that serves: train names the training file there"
                            : "train is of a job that trains: model names the model there"))
            }
        }
        for key in [\JobHost.name, \JobHost.destination] {
            let names = hosts.map { $0[keyPath: key] }
            if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
                throw .badInput(
                    "\(path): hosts: \(twice) stands there twice: write its ranks once, as"
                        + " \(twice):2")
            }
        }
        let count = hosts.reduce(0) { $0 + $1.ranks }
        guard count == ranks else {
            throw .badInput("\(path): the job has \(ranks) ranks; its hosts have \(count) (hosts)")
        }
        guard lab.isEmpty else {
            throw .badInput("\(path): lab and hosts: the ranks of a job run in one kind of place")
        }
        guard !ssh.command.isEmpty, !ssh.command.hasPrefix("-") else {
            throw .badInput("\(path): ssh.command \"\(ssh.command)\" is not a program")
        }
    }

    /// A network is a subnet or a device, and one of the keys that name devices is enough.
    private func validateNetwork(_ fail: (String) -> ClusterError) throws(ClusterError) {
        guard !network.isEmpty else { return }
        guard jobNetwork != nil else {
            throw fail(
                "network \"\(network)\" is neither an IPv4 subnet as 10.1.0.0/16 nor the name of a"
                    + " device")
        }
        guard device.isEmpty else {
            throw fail("device and network: one of them names the devices")
        }
        guard lab.isEmpty else { throw fail("lab and network: a lab has networks of its own") }
    }

    /// What a rank's pool of threads is sized for.
    static let mostThreads = 256
    /// A launcher waits 3 s for a coordinator that hangs, and a second before it starts the next.
    private static let shortestTakeOver = 5.0
    /// A deadline beyond a day is a mistake of units.
    static let longestWait = 86400.0

    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("-")
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    }
}

extension JobConfiguration.Deadlines {
    var all: [(String, Double)] {
        [
            ("joinSeconds", joinSeconds), ("connectSeconds", connectSeconds),
            ("loadSeconds", loadSeconds), ("warmUpSeconds", warmUpSeconds),
            ("silenceSeconds", silenceSeconds), ("stepSeconds", stepSeconds),
            ("drainSeconds", drainSeconds),
        ]
    }
}
