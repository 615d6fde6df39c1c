import ArgumentParser
import Cluster
import Foundation
import Serving
import Topology

/// Records what the ranks of a job do, and shows what ranks wrote when something went wrong.
struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Records every rank of a job for some seconds, as one file for Perfetto.",
        discussion: """
            The file shows every rank's steps, computation, dispatch, combine and waits on one \
            clock; https://ui.perfetto.dev and chrome://tracing open it. It holds no prompt and \
            no text. A rank that does not answer is named, and the others' trace is whole. A \
            server or a job of another machine is named by its URL, with an admin's key and the \
            rules of apus drain. With --flight the command prints instead what ranks wrote when a \
            rank was lost or a deadline passed, merged by time.

              apus trace -o trace.json
              apus trace tale --seconds 10 --json
              APUS_ADMIN_KEY=... apus trace --url https://tale.example:8080
              apus trace --flight ~/.local/state/apus/jobs/tale-*/flight/*.jsonl
            """)

    @Argument(help: "A job's name or folder; default the only job that runs.") var job: String?
    @Option(help: "The URL of a server or job, whose key of an admin is sent.") var url: String?
    @Option(help: "A file of named keys, whose first admin's key is sent to --url.")
    var keyFile: String?
    @Flag(help: "Send the key to another machine over http://, in clear.") var plain = false
    @Option(help: "Seconds to record, 1 to 60.") var seconds = 5
    @Option(name: [.customShort("o"), .long], help: "The file for the trace.")
    var output = "trace.json"
    @Flag(help: "Print the summary as one JSON object.") var json = false
    @Option(
        parsing: .upToNextOption,
        help: "Print these files of last events of ranks, in order of time.")
    var flight: [String] = []

    /// Enough for the ranks of a large job.
    private static let mostFiles = 4096
    /// For the ranks to answer after the seconds, and for the trace to travel.
    private static let patience = 60

    func validate() throws {
        if !(1 ... RankRecorder.longestSeconds).contains(seconds) {
            throw ValidationError(
                "--seconds \(seconds) is not 1 to \(RankRecorder.longestSeconds)")
        }
        if job != nil, url != nil {
            throw ValidationError("a job's name and --url: one says which job")
        }
        if keyFile != nil || plain, url == nil {
            throw ValidationError("--key-file and --plain go with --url")
        }
        if !flight.isEmpty, job != nil || url != nil || json {
            throw ValidationError("--flight reads files: no job, --url or --json goes with it")
        }
        if flight.count > Self.mostFiles {
            throw ValidationError("--flight: \(flight.count) files, the limit is 4096")
        }
    }

    func run() throws {
        try reporting {
            guard flight.isEmpty else {
                let records = try flight.map { try FlightRecord(contentsOf: $0) }
                for line in FlightRecord.lines(merging: records) { print(line) }
                return
            }
            // What is wrong with it is said before the seconds pass.
            let file = try OutputFile(output)
            let (trace, copy) = try recorded()
            // A signal that comes from here on finds the file whole: it is renamed when written. A
            // reader may let the command wait, and then a signal ends it.
            let stop = file.hasReader ? nil : StopFlag.onSignals()
            if file.hasReader { StopFlag.letSignalsEnd() }
            let summary = try Self.summary(of: trace)
            do throws(ClusterError) { try file.write(trace) } catch {
                let kept = copy.map { "; the trace is in \($0.path(percentEncoded: false))" }
                throw ClusterError.badInput(error.description + (kept ?? ""))
            }
            if let copy { try? FileManager.default.removeItem(at: copy) }
            show(summary)
            if let signal = stop?.raisedBy { throw ExitCode(ExitStatus.signal(signal).code) }
        }
    }

    /// The trace as the server or the coordinator gives it, and the job's own copy.
    private func recorded() throws -> (trace: Data, copy: URL?) {
        if let url {
            let client = try OperatorClient(
                url, keyFile: keyFile, allowsPlain: plain,
                limit: .seconds(seconds + Self.patience))
            return (try client.trace(seconds: seconds), nil)
        }
        let folder = try JobSelection.here(job)
        let link = try JobPlacement.link(
            to: folder.url.path(percentEncoded: false), coordinator: nil)
        defer { link.close() }
        let file = try folder.trace(
            at: link.trace(seconds: seconds, limit: .seconds(seconds + Self.patience)))
        do { return (try Data(contentsOf: file), file) } catch {
            throw ClusterError.badInput(
                "the trace is not in the job's folder: \(error.localizedDescription)")
        }
    }

    private struct Document: Decodable {
        struct OtherData: Decodable {
            let summary: TraceSummary
        }

        let otherData: OtherData
    }

    private static func summary(of trace: Data) throws -> TraceSummary {
        do {
            return try JSONDecoder().decode(Document.self, from: trace).otherData.summary
        } catch {
            throw ClusterError.badInput(
                "the answer of \(trace.count) bytes is no trace of this version of Apus")
        }
    }

    private func show(_ summary: TraceSummary) {
        if json {
            guard let text = try? JSONEncoder.forPeople.encode(summary) else { return }
            print(String(decoding: text, as: UTF8.self))
        } else {
            for line in summary.lines { print(TaggedLog.plain(line)) }
            print("wrote \(output): https://ui.perfetto.dev opens it")
        }
    }
}
