package import Foundation
import Topology

/// The command lines that a launch runs, host by host, as `apus plan FILE` prints them.
package struct LaunchCommands: Codable, Sendable {
    /// Where the commands run.
    package var host: String
    /// Command lines, as a shell reads them.
    package var lines: [String]

    /// The commands of a job: those of the launcher, then those of every host.
    ///
    /// - Parameters:
    ///   - lab: The name of the lab that the hosts are nodes of.
    ///   - programs: The folder of the programs; nil is that of the running one.
    package static func of(
        _ job: JobConfiguration, hosts: [CheckedHost], lab: String? = nil, programs: URL? = nil
    ) -> [LaunchCommands] {
        let folder = programs ?? JobIdentity.ownFolder
        let here = folder.path(percentEncoded: false)
        let own = here.count > 1 && here.hasSuffix("/") ? String(here.dropLast()) : here
        let coordinator = ["\(own)/apus-coordinator", "--job", "job.yaml", "--folder", "FOLDER"]
        var all = [LaunchCommands(host: "launcher", lines: [line(coordinator)])]
        let isDecided = job.control.port != 0 && !job.control.isUnspecified
        let control = isDecided ? job.control.text : "ADDRESS:PORT"
        for host in hosts {
            let remote = job.hosts.first { $0.name == host.name }
            var lines: [String] = []
            var place = own
            var words: [String] = []
            if let remote {
                let named = remote.programs.isEmpty ? job.ssh.programs : remote.programs
                place = named.isEmpty ? own : named
                if job.sendsPrograms(to: remote) {
                    place = host.programs.map(\.place) ?? "PROGRAMS"
                }
                lines.append(line(HostConnection.ssh(remote, job.ssh, place)))
                if !remote.directory.isEmpty { words += ["-C", remote.directory] }
                words += remote.environment.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }
                if !words.isEmpty { words.insert("env", at: 0) }
            } else if let lab {
                words = ["ip", "netns", "exec", "apus-\(lab)-\(host.name)"]
            }
            lines += host.ranks.map { rank in
                line(
                    words + [
                        "\(place)/apus-worker", "--job", "job.yaml", "--rank", "\(rank)",
                        "--coordinator", control,
                    ])
            }
            all.append(LaunchCommands(host: host.name, lines: lines))
        }
        return all
    }

    private static func line(_ words: [String]) -> String {
        words.map { word in
            let isPlain = word.allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || "/._:-=,@".contains($0))
            }
            return isPlain ? word : HostConnection.quoted(word)
        }.joined(separator: " ")
    }
}
