import Foundation

extension JobHost {
    /// The host with its ranks, as messages of a launch name it.
    func label(ranks: Range<Int>) -> String {
        let last = ranks.upperBound - 1
        return ranks.count == 1
            ? "host \(name) (rank \(last))"
            : "host \(name) (ranks \(ranks.lowerBound) to \(last))"
    }

    /// Why ssh ended before the host was ready, with the remedy.
    ///
    /// - Parameters:
    ///   - label: The host with its ranks.
    ///   - errors: What ssh said.
    func refusal(as label: String, _ end: ProcessEnd, _ errors: String) -> ClusterError {
        let own = "try ssh \(destination) true"
        let remedy: String
        switch end {
        case .exited(126), .exited(127):
            remedy =
                errors.contains("shared librar")
                ? "install that library there; the programs of make package bring Swift's own"
                : "install Apus there, or name its folder by programs, or send it by"
                    + " programs: copy"
        case .exited(255) where errors.contains("IDENTIFICATION HAS CHANGED"):
            // ssh says itself how its file of known hosts calls the host.
            let own = errors.split(whereSeparator: \.isNewline).map {
                TaggedLog.plain(String($0)).trimmingCharacters(in: .whitespaces)
            }.first { $0.hasPrefix("ssh-keygen") }
            return .badInput(
                "\(label): its ssh key is not the one that is known: make sure that it is this"
                    + " host, then \(own ?? "ssh-keygen -R \(address)")")
        case .exited(255) where errors.contains("Host key verification failed"):
            return .badInput(
                "\(label): its ssh key is not known yet: connect once by ssh \(destination)")
        case .exited(255) where errors.contains("Permission denied"):
            return .badInput(
                "\(label): ssh asks for a password or refuses the key"
                    + " (\(Self.lastLine(errors))): ssh-copy-id \(destination)")
        case .exited(255): remedy = "the host cannot be reached: \(own)"
        default: remedy = own
        }
        return .badInput("\(label): ssh \(end): \(Self.lastLine(errors)); \(remedy)")
    }

    /// The last line of what a program said, for one line of ours.
    static func lastLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).last.map { TaggedLog.plain(String($0)) }
            ?? "no word"
    }
}
