import Foundation
public import Logging
import Synchronization

/// Log lines of a process of a job: time, who, level, message; one line each.
///
/// They go to standard error, which the launcher turns into one file per rank. Control characters
/// are escaped, so that what another process sent cannot forge a line.
public struct TaggedLog: LogHandler {
    /// Who speaks: `rank 3` or `coordinator`.
    public let tag: String
    /// Values that go with every line.
    public var metadata: Logger.Metadata = [:]
    /// The least level that is written.
    public var logLevel = Logger.Level.info

    /// Lines that begin with the time and `tag`.
    public init(tag: String) { self.tag = tag }

    /// Access to `metadata` by key.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let pairs = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        let text = Self.plain("\(event.message)\(pairs)")
        let line = "\(Self.time(Date())) \(tag) \(event.level): \(text)\n"
        Self.output.withLock { _ in StandardStream.error.say(line) }
    }

    /// One line at a time.
    private static let output = Mutex(())

    static func time(_ date: Date) -> String {
        date.formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true, timeZone: .gmt))
    }

    package static func plain(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else { return text }
        return text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control
                ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
        }.joined()
    }
}
