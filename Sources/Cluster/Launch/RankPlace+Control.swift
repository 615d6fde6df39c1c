import NIOCore

extension RankPlace {
    /// Where the coordinator of a job is, for a rank that a program like `srun` started.
    public struct Control: Equatable, Sendable {
        /// Where ranks connect.
        public var reached: Endpoint
        /// Where rank 0's coordinator listens; nil where somebody else started the coordinator.
        public var listening: Endpoint?
    }

    /// Finds the coordinator of a job.
    ///
    /// It runs beside rank 0. A job whose `control.address` is an address of another machine has
    /// its coordinator there.
    ///
    /// - Throws: `ClusterError.badInput` when nobody says where rank 0 runs, or when the number of
    ///   processes is not the job's number of ranks.
    public func control(of job: JobConfiguration) throws(ClusterError) -> Control {
        try check(job)
        let port = job.control.port != 0 ? job.control.port : port ?? Self.defaultPort
        let stated = job.control.address
        guard job.control.isLoopback || job.control.isUnspecified else {
            let endpoint = Endpoint(address: stated, port: port)
            let isHere = rank == 0 && endpoint.isOfThisMachine
            return Control(reached: endpoint, listening: isHere ? endpoint : nil)
        }
        if let network = job.jobNetwork, case .subnet = network, !hosts.isEmpty {
            return try control(of: job, in: network, port: port)
        }
        let endpoints = hosts.map { Endpoint(address: $0, port: port) }
        guard let reached = endpoints.first(where: \.isResolved) else {
            let fact =
                hosts.isEmpty
                ? "\(source) does not say where rank 0 runs"
                : "rank 0 runs on \(hosts.joined(separator: " or ")), by \(source), a name"
                    + " that this machine cannot resolve"
            throw .badInput(
                "\(fact): set MASTER_ADDR to its address, or give --coordinator ADDRESS:PORT")
        }
        guard rank == 0 else { return Control(reached: reached) }
        // A machine's own name is often 127.0.1.1 on it, where no other machine comes in.
        let isHidden = reached.loopbackWarning != nil || job.control.isUnspecified
        let wide = job.control.isUnspecified ? stated : "0.0.0.0"
        let listening = isHidden ? Endpoint(address: wide, port: port) : reached
        return Control(reached: reached, listening: listening)
    }

    /// Finds the coordinator by rank 0's address in the job's subnet.
    ///
    /// Rank 0 and ranks on its own machine know the address. Others know what its name resolves to.
    private func control(
        of job: JobConfiguration, in network: JobNetwork, port: Int
    ) throws(ClusterError) -> Control {
        // The likeliest name is often 127.0.1.1, or an address outside the subnet, on its machine.
        let likeliest = hosts.map { Endpoint(address: $0, port: port) }.first(where: \.isResolved)
        let isHere =
            rank == 0 || hosts.contains { Endpoint.isLoopback($0) }
            || likeliest?.isOfThisMachine == true
        if isHere, let own = try job.ownAddress(as: "rank \(rank) on \(ProcessIdentity.node)") {
            let endpoint = Endpoint(address: own.address, port: port)
            return Control(reached: endpoint, listening: rank == 0 ? endpoint : nil)
        }
        let numbers = hosts.map { ($0, Endpoint(address: $0, port: port).number) }
        guard let reached = numbers.compactMap(\.1).first(where: network.holds) else {
            let known = numbers.map { "\($0) (\($1 ?? "no address here"))" }
            throw .badInput(
                "rank \(rank): rank 0 runs on \(known.joined(separator: " or ")), by \(source),"
                    + " which is not in subnet \(job.network) (network): set MASTER_ADDR to its"
                    + " address there")
        }
        return Control(reached: Endpoint(address: reached, port: port))
    }
}

extension Endpoint {
    /// Whether only this machine reaches the address as it is written.
    package var isLoopback: Bool {
        address == "localhost" || address.hasPrefix("127.") || address == "::1"
    }

    /// Whether the address stands for all addresses of the machine.
    package var isUnspecified: Bool { address == "0.0.0.0" || address == "::" }

    /// Whether the name has an address here.
    var isResolved: Bool {
        isPath || (try? SocketAddress.makeAddressResolvingHost(address, port: port)) != nil
    }

    /// Whether a network device of this machine has the address.
    var isOfThisMachine: Bool {
        guard !isPath,
            let own = try? SocketAddress.makeAddressResolvingHost(address, port: port).ipAddress
        else { return isPath }
        let devices = (try? System.enumerateDevices()) ?? []
        return devices.contains { $0.address?.ipAddress == own } || own.hasPrefix("127.")
    }
}
