extension Rendering {
    /// The command of every rank, host by host, and that of the coordinator before them.
    func ssh() throws(ClusterError) -> String {
        try requireTokenFile(.ssh)
        guard !job.hosts.isEmpty else {
            throw .badInput("\(file): hosts is missing: the machines that ssh reaches")
        }
        let control = job.control
        guard !control.isLoopback, !control.isUnspecified, !control.isPath, control.port != 0 else {
            throw .badInput(
                "\(file): control \(control.text) is not an address and a port that the hosts"
                    + " reach: name one of the machine that runs the coordinator")
        }
        let path = Self.shellWord(file)
        var lines = [
            "# \(job.name): \(job.ranks) ranks. apus launch does all of this, and ends it, too.",
            "# The job file and its secret stand at the same paths on every host.",
            "\(Self.shellWord(program("apus-coordinator"))) --job \(path) &",
        ]
        var rank = 0
        for host in job.hosts {
            for _ in 0 ..< host.ranks {
                lines.append(line(host, rank, path))
                rank += 1
            }
        }
        return lines.joined(separator: "\n") + "\nwait\n"
    }

    private func line(_ host: JobHost, _ rank: Int, _ path: String) -> String {
        let programs = host.programs.isEmpty ? job.ssh.programs : host.programs
        let worker = programs.isEmpty ? program("apus-worker") : "\(programs)/apus-worker"
        var words: [String] = []
        if !host.directory.isEmpty { words += ["cd", Self.shellWord(host.directory), "&&"] }
        words += host.environment.sorted { $0.key < $1.key }.map {
            "\($0.key)=\(Self.shellWord($0.value))"
        }
        words += [
            Self.shellWord(worker), "--job", path, "--rank", "\(rank)", "--coordinator",
            Self.shellWord(job.control.text),
        ]
        let ssh = ([job.ssh.command] + job.ssh.options).map(Self.shellWord)
        let remote = HostConnection.quoted(words.joined(separator: " "))
        return (ssh + [Self.shellWord(host.destination), remote, "&"]).joined(separator: " ")
    }
}
