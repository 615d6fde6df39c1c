import Topology

/// A machine behind ssh on which ranks of a job run.
public struct JobHost: Codable, Hashable, Sendable {
    /// What messages and tables call it; unique in a job.
    public var name: String
    /// Ranks that run there, in order of the hosts.
    public var ranks = 1
    /// Where ssh connects: a name of its configuration, a host name or an address.
    package var address: String
    /// Who logs in; empty leaves it to ssh.
    package var user = ""
    /// The model's folder there; empty is the job's.
    package var model = ""
    /// The training file there; empty is the job's.
    package var train = ""
    /// The folder in which the ranks start; empty is the one that ssh starts in.
    package var directory = ""
    /// The folder of the programs there; empty is that of `ssh.programs`.
    package var programs = ""
    /// Variables that the ranks there get.
    package var environment: [String: String] = [:]

    /// A host with every default.
    init(name: String) {
        self.name = name
        address = name
    }

    /// What ssh is told.
    var destination: String { user.isEmpty ? address : "\(user)@\(address)" }

    /// Checks the count before it is added to others.
    ///
    /// - Throws: `ClusterError.badInput` with the host and the limit.
    func validateRanks(path: String) throws(ClusterError) {
        guard (1 ... Rank.maximumCount).contains(ranks) else {
            throw .badInput(
                "\(path): host \(name): ranks \(ranks) is not 1 to \(Rank.maximumCount)")
        }
    }

    /// Checks what ends on a command line, and what is counted.
    ///
    /// - Throws: `ClusterError.badInput` with the host and the key.
    func validate(path: String) throws(ClusterError) {
        for (key, text) in [("name", name), ("address", address), ("user", user)] {
            let isPlain =
                !text.hasPrefix("-")
                && text.allSatisfy {
                    $0.isASCII && ($0.isLetter || $0.isNumber || "._:-%".contains($0))
                }
            guard isPlain, !text.isEmpty || key == "user" else {
                throw .badInput("\(path): hosts: \(key) \"\(text)\" is not a name or an address")
            }
        }
        try validateRanks(path: path)
        for (key, text) in [
            ("model", model), ("train", train), ("directory", directory), ("programs", programs),
        ] {
            guard text.isEmpty || text.hasPrefix("/") else {
                throw .badInput(
                    "\(path): host \(name): \(key) \"\(text)\" does not begin with /: a host has"
                        + " no folder that it could start in")
            }
        }
        // Names go into shells and units as they are.
        let isVariable = { (name: String) in
            name.contains(/^[A-Za-z_][A-Za-z0-9_]*$/) && !name.hasPrefix("APUS_TOKEN")
        }
        if let other = environment.keys.sorted().first(where: { !isVariable($0) }) {
            throw .badInput(
                "\(path): host \(name): environment \"\(other)\" is not a variable for ranks")
        }
    }
}

/// How the launcher reaches the hosts of a job.
public struct SecureShell: Codable, Hashable, Sendable {
    /// The program.
    package var command = "ssh"
    /// Options of the program, before those of the launcher.
    package var options: [String] = []
    /// The folder of the programs on every host; empty is that of the launcher's own.
    package var programs = ""

    /// Every default.
    init() {}
}
