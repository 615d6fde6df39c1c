import Foundation

/// One line between a launcher and the supervisor that it started on a host.
///
/// Lines are JSON and travel over the standard streams of ssh, which seals them.
enum HostFrame: Codable, Equatable, Sendable {
    /// What the supervisor must know before it starts a rank; the first line of the launcher.
    case open(HostOrders)
    /// The supervisor is ready; `client` is the launcher's address as this host sees it.
    case ready(client: String, version: String)
    /// Start a rank, whose coordinator listens there.
    case start(rank: Int, control: String)
    /// Send a signal to a rank.
    case signal(rank: Int, number: Int32)
    /// What a rank wrote, in pieces that may end inside a character.
    case log(rank: Int, bytes: Data)
    /// A rank is gone.
    case exited(rank: Int, end: ProcessEnd)
    /// The supervisor cannot go on, or cannot start a rank.
    case failed(rank: Int?, words: String)
    /// The launcher lives.
    case beat
    /// Say what the host is like; the cheap half alone, or all.
    case survey(isWhole: Bool)
    /// What the host is like.
    case surveyed(HostSurvey)
    /// Say the time.
    case clock
    /// Seconds since 1970, UTC.
    case time(seconds: Double)
    /// Listen for probes of links that show the token.
    case listen(token: String)
    /// Where it listens; 0 and the reason where it cannot.
    case listening(port: Int, failure: String)
    /// Measure the way to another host.
    case measure(ProbeOrder)
    /// What was measured.
    case measured(LinkMeasurement)

    /// The frame as a line.
    var line: Data {
        // Codable of these cases cannot fail: they hold text and numbers alone.
        let bytes = (try? JSONEncoder().encode(self)) ?? Data()
        return bytes + Data("\n".utf8)
    }

    /// Reads a line; nil for one that is no frame, as shells print at the start.
    init?(line: Data) {
        guard let frame = try? JSONDecoder().decode(HostFrame.self, from: line) else { return nil }
        self = frame
    }

    /// Between two beats of the launcher.
    static let beatSeconds = 1.0
    /// Silence after which a supervisor takes its launcher for gone.
    static let silence = Duration.seconds(6)
    /// Bytes of a line: orders hold a job file, and a log is sent in pieces.
    static let largestLine = 4 << 20
}

/// What a supervisor must know of its job.
struct HostOrders: Codable, Equatable, Sendable {
    /// The host's name in the job.
    var host: String
    /// The job's secret.
    var token: String
    /// The job file as the ranks of this host read it.
    var job: String
    /// The folder in which ranks start; empty for that of the supervisor.
    var directory: String
    /// Variables for the ranks.
    var environment: [String: String]
}

/// Cuts bytes into lines.
struct LineReader {
    private var pending = Data()

    /// Takes in bytes, and returns the lines that they end, without their ends.
    ///
    /// - Throws: `ClusterError.badInput` for a line beyond `HostFrame.largestLine`.
    mutating func read(_ bytes: Data) throws(ClusterError) -> [Data] {
        pending.append(bytes)
        var lines: [Data] = []
        while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(Data(pending[..<end]))
            pending = Data(pending[pending.index(after: end)...])
        }
        guard pending.count <= HostFrame.largestLine else {
            throw .badInput(
                "a line of a host has more than \(HostFrame.largestLine) bytes")
        }
        return lines
    }
}
