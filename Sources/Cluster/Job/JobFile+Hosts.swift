import Foundation
import Topology

extension JobFile {
    /// Replaces the short forms of hosts by one mapping each, and counts the ranks where the file
    /// does not.
    ///
    /// - Parameter hasRanks: Whether the file says how many ranks there are.
    mutating func readHosts(hasRanks: Bool, path: String) throws(ClusterError) {
        let isCounted = hasRanks || !groups.isEmpty
        let count = groups.isEmpty ? ranks : groups.reduce(0) { $0 + $1.ranks }
        var known = try JobHost.read(hosts, ranks: isCounted ? count : nil, path: path)
        if !hostfile.isEmpty {
            guard known.isEmpty else {
                throw .badInput("\(path): hosts and hostfile: a job has one list of hosts")
            }
            let file = URL(
                filePath: hostfile,
                relativeTo: URL(filePath: path).absoluteURL.deletingLastPathComponent()
            ).path(percentEncoded: false)
            let text: String
            do throws(InputError) {
                text = try InputFile.text(of: file)
            } catch {
                throw .badInput("\(path): hostfile \(file): \(error)")
            }
            known = try JobHost.readHostfile(text, path: file)
            hostfile = ""
        }
        hosts = .list(known.map(SettingValue.init))
        if !known.isEmpty, !isCounted { ranks = known.reduce(0) { $0 + $1.ranks } }
    }
}

extension SettingValue {
    /// A host with all its keys.
    init(_ host: JobHost) {
        self = .mapping([
            "name": .text(host.name), "ranks": .integer(host.ranks),
            "address": .text(host.address), "user": .text(host.user),
            "model": .text(host.model), "train": .text(host.train),
            "directory": .text(host.directory),
            "programs": .text(host.programs),
            "environment": .mapping(host.environment.mapValues(SettingValue.text)),
        ])
    }
}
