package import Foundation

/// The findings of `apus doctor`, with how many are bad.
package struct DoctorReport: Encodable {
    package let job: String
    /// When the hosts had been surveyed.
    package let made: Date
    package let failures: Int
    package let warnings: Int
    package let findings: [Finding]

    /// Judges the facts.
    package init(_ facts: JobFacts, made: Date = Date()) {
        job = facts.job.name
        self.made = made
        findings = facts.findings
        failures = findings.count { $0.severity == .fail }
        warnings = findings.count { $0.severity == .warn }
    }

    /// As a job's folder keeps it.
    func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return try encoder.encode(self)
    }
}
