import Foundation

/// The lines for people of a run, kept in `train.log` of its output folder, where the launcher of
/// the run reads them.
final class RunLog {
    private let handle: FileHandle
    private let observer: TrainingObserver

    init(_ job: TrainingJob, _ observer: TrainingObserver) throws {
        self.observer = observer
        let path = job.logPath
        try OutputFolder.make(job.output, key: "output")
        if !FileManager.default.fileExists(atPath: path) {
            try Data().write(to: URL(filePath: path))
        }
        handle = try FileHandle(forWritingTo: URL(filePath: path))
        try handle.seekToEnd()
    }

    deinit { try? handle.close() }

    func say(_ line: String) throws {
        try handle.write(contentsOf: Data((line + "\n").utf8))
        try observer.said(line)
    }
}

extension TrainingJob {
    /// Where rank 0 writes down what it tells people.
    public var logPath: String { output + "/train.log" }
}
