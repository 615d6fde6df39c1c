package import Foundation

/// A job as `apus status` and `apus jobs` show it: what it is, where it is, and how it is.
public struct JobReport: Codable, Sendable {
    /// What the job is called.
    package var name: String
    /// The model's folder, or the training file.
    package var subject: String
    /// The job's folder.
    package var folder: String
    /// The process that runs it: the launcher, or a coordinator that was started by hand.
    package var pid: Int32
    /// When it began.
    package var began: Date
    /// Where its coordinator listens for workers; nil until it does.
    package var control: String?
    /// Where its API is; nil until it serves.
    package var http: String?
    /// `starting`, the name of its phase, `silent`, `ended`, or the machine it ran on if that is
    /// another.
    package var state: String
    /// Why it could not be asked.
    public var error: String?
    /// Its ranks, if it could be asked.
    public var snapshot: JobSnapshot?

    /// Two lines for people: what it is, and where.
    public var lines: [String] {
        let place = http.map { ", \($0)" } ?? ""
        let began = began.formatted(
            Date.ISO8601FormatStyle(dateTimeSeparator: .space, timeZone: .current))
        let work = URL(filePath: subject).lastPathComponent
        return [
            "\(name): \(work), \(state), process \(pid)\(place)",
            "  since \(began), \(folder)",
        ] + (error.map { ["  \($0)"] } ?? [])
    }
}
