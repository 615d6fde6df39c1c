/// Where hosts behind ssh have the programs from.
package enum ProgramSource: String, CaseIterable, Sendable {
    /// They stand at a path there: the host's `programs`, `ssh.programs`, or the launcher's own.
    case path
    /// The launcher sends its own to a host that lacks them, but for hosts that name a path.
    case copy
}

extension JobConfiguration {
    /// Whether a host gets the launcher's programs.
    func sendsPrograms(to host: JobHost) -> Bool { programs == .copy && host.programs.isEmpty }

    /// Hosts with the numbers of their ranks.
    var placedHosts: [(host: JobHost, ranks: Range<Int>)] {
        var first = 0
        return hosts.map { host in
            defer { first += host.ranks }
            return (host, first ..< (first + host.ranks))
        }
    }
}
