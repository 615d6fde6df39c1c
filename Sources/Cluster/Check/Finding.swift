/// One line of `apus doctor`: what a rule says of the facts.
package struct Finding: Codable, Equatable, Sendable {
    /// How much it matters.
    package enum Severity: String, Codable, Sendable {
        case pass = "PASS"
        case warn = "WARN"
        case fail = "FAIL"
    }

    /// A job with a failure cannot run, or not run right.
    package var severity: Severity
    /// The rule.
    package var check = ""
    /// The host with its ranks, or two hosts; empty for all.
    package var host: String
    /// What is so, in words, with the value.
    package var fact: String
    /// The value alone.
    package var value = ""
    /// What the value is held against.
    package var limit = ""
    /// What a person can do.
    package var remedy = ""

    /// The host, the fact and the remedy in one line.
    package var text: String {
        let place = host.isEmpty ? "" : "\(host): "
        return place + fact + (remedy.isEmpty ? "" : "; \(remedy)")
    }

    /// As `apus doctor` prints it.
    package var line: String {
        let name = check.padded(to: 10)
        return "\(severity.rawValue)  \(name)  \(text)"
    }
}

extension String {
    /// The text with spaces after it, up to a width.
    package func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}

extension Finding {
    static func warn(
        _ host: String, _ fact: String, value: some CustomStringConvertible = "",
        limit: some CustomStringConvertible = "", remedy: String
    ) -> Finding {
        Finding(
            severity: .warn, host: host, fact: fact, value: "\(value)", limit: "\(limit)",
            remedy: remedy)
    }

    static func fail(
        _ host: String, _ fact: String, value: some CustomStringConvertible = "",
        limit: some CustomStringConvertible = "", remedy: String
    ) -> Finding {
        Finding(
            severity: .fail, host: host, fact: fact, value: "\(value)", limit: "\(limit)",
            remedy: remedy)
    }
}

/// What one rule says: its findings, or one line that all is well.
struct Verdict {
    /// What was checked, in words; empty where there was nothing to judge.
    var summary: String
    var findings: [Finding] = []
}

extension Int {
    /// Bytes for people, as `1.5 GB`.
    package var bytesText: String {
        let units = ["bytes", "kB", "MB", "GB", "TB"]
        var value = Double(self)
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return unit == 0 ? "\(self) bytes" : "\(value.formatted(digits: 1)) \(units[unit])"
    }
}
