import Foundation
import Topology

extension JobHost {
    /// The hosts that a job file names.
    ///
    /// - Parameters:
    ///   - written: A list in `node[01-16]` syntax, or a list of such texts and of mappings.
    ///   - ranks: The job's ranks, shared out evenly among hosts of which none says how many it
    ///     has; nil gives each one.
    static func read(
        _ written: SettingValue, ranks: Int?, path: String
    ) throws(ClusterError) -> [JobHost] {
        let items: [SettingValue]
        switch written {
        case .text(let text): items = [.text(text)]
        case .list(let list): items = list
        default: throw .badInput("\(path): hosts is neither a list nor text as node[01-16]")
        }
        var hosts: [JobHost] = []
        var isCounted = false
        for (index, item) in items.enumerated() {
            switch item {
            case .text(let text):
                for name in try HostList.expand(text, source: "\(path): hosts") {
                    let (host, hasCount) = try read(name, path: path)
                    isCounted = isCounted || hasCount
                    hosts.append(host)
                }
            case .mapping(let mapping):
                isCounted = isCounted || mapping["ranks"] != nil
                hosts.append(try read(mapping, place: "hosts[\(index)]", path: path))
            default: throw .badInput("\(path): hosts[\(index)] is neither a name nor a mapping")
            }
        }
        return try share(ranks, hosts, isCounted, path)
    }

    /// Hosts of a file of Open MPI: a name, then `slots=N`.
    static func readHostfile(_ text: String, path: String) throws(ClusterError) -> [JobHost] {
        var hosts: [JobHost] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let name = words.first else { continue }
            var (host, _) = try read(String(name), path: path)
            for word in words.dropFirst() {
                let pair = word.split(separator: "=", maxSplits: 1)
                switch (pair.first, pair.last.flatMap { Int($0) }) {
                case ("slots", let slots?):
                    host.ranks = slots
                    try host.validateRanks(path: "\(path):\(index + 1)")
                case ("max_slots", _?), ("max-slots", _?): continue
                default:
                    throw .badInput(
                        "\(path):\(index + 1): \"\(word)\" is not slots=N (Open MPI hostfile)")
                }
            }
            hosts.append(host)
        }
        guard !hosts.isEmpty else { throw .badInput("\(path) names no host") }
        return hosts
    }

    /// `[user@]name[:ranks]`.
    private static func read(
        _ text: String, path: String
    ) throws(ClusterError) -> (JobHost, hasCount: Bool) {
        var name = text[...]
        var user = ""
        if let at = name.firstIndex(of: "@") {
            user = String(name[..<at])
            name = name[name.index(after: at)...]
        }
        var ranks: Int?
        // An IPv6 address has colons of its own, and takes no count.
        if name.count(where: { $0 == ":" }) == 1, let colon = name.firstIndex(of: ":") {
            ranks = Int(name[name.index(after: colon)...])
            guard ranks != nil else {
                throw .badInput("\(path): hosts: \"\(text)\" is not host:ranks")
            }
            name = name[..<colon]
        }
        var host = JobHost(name: String(name))
        host.user = user
        host.ranks = ranks ?? 1
        return (host, ranks != nil)
    }

    private static func read(
        _ written: [String: SettingValue], place: String, path: String
    ) throws(ClusterError) -> JobHost {
        guard case .text(let name)? = written["name"] else {
            throw .badInput("\(path): \(place).name is missing, or no text")
        }
        var host = JobHost(name: name)
        for key in written.keys.sorted() {
            switch (key, written[key]) {
            case ("name", _): continue
            case ("ranks", .integer(let ranks)): host.ranks = ranks
            case ("address", .text(let text)): host.address = text
            case ("user", .text(let text)): host.user = text
            case ("model", .text(let text)): host.model = text
            case ("train", .text(let text)): host.train = text
            case ("directory", .text(let text)): host.directory = text
            case ("programs", .text(let text)): host.programs = text
            case ("environment", .mapping(let variables)):
                host.environment = variables.mapValues(\.words)
            default:
                let known = [
                    "address", "directory", "environment", "model", "name", "programs", "ranks",
                    "train", "user",
                ]
                guard known.contains(key) else {
                    throw .badInput(
                        "\(path): unknown key \"\(place).\(key)\"; known:"
                            + " \(known.joined(separator: ", "))")
                }
                throw .badInput("\(path): \(place).\(key) is of another kind")
            }
        }
        return host
    }

    private static func share(
        _ ranks: Int?, _ hosts: [JobHost], _ isCounted: Bool, _ path: String
    ) throws(ClusterError) -> [JobHost] {
        for host in hosts { try host.validateRanks(path: path) }
        guard let ranks, !isCounted, !hosts.isEmpty else { return hosts }
        guard ranks % hosts.count == 0 else {
            throw .badInput(
                "\(path): ranks \(ranks) cannot be shared out evenly among \(hosts.count) hosts:"
                    + " say how many each has, as node1:2")
        }
        return hosts.map { host in
            var host = host
            host.ranks = ranks / hosts.count
            return host
        }
    }
}

extension SettingValue {
    /// A single value as a variable of the environment holds it.
    fileprivate var words: String {
        switch self {
        case .flag(let flag): "\(flag)"
        case .integer(let integer): "\(integer)"
        case .number(let number): "\(number)"
        case .text(let text): text
        case .list, .mapping: ""
        }
    }
}
