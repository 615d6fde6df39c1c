import Encoding

/// The two files that a batch writes: answers, and errors.
final class BatchResults: Sendable {
    /// An answer that could not be written.
    struct Unwritten: Error, CustomStringConvertible {
        let reason: any Error
        var description: String { "an answer cannot be written: \(reason)" }
    }

    private let id: String
    private let folder: BatchFolder
    private let output: BatchOutput
    private let errors: BatchOutput
    /// The requests that need no answer any more.
    let answered: Set<[UInt8]>
    /// Lines of which nobody knows what they answered.
    var damagedLines: Int { output.damagedLines + errors.damagedLines }

    /// Opens the files where an earlier server left them, and counts what they hold.
    init(_ batch: Batch, in folder: BatchFolder) throws {
        id = batch.id
        self.folder = folder
        let output = try BatchOutput(batch.output, of: batch.owner, in: folder)
        let errors = try BatchOutput(batch.errors, of: batch.owner, in: folder)
        (self.output, self.errors) = (output, errors)
        answered = Set((output.answered + errors.answered).map { Array($0.utf8) })
        try folder.change(id) {
            ($0.counts.completed, $0.counts.failed) = (output.answered.count, errors.answered.count)
        }
    }

    /// Bytes of both files as they are, where they cannot be opened.
    static func bytes(
        of batch: Batch, in folder: BatchFolder
    ) throws -> (output: Int, errors: Int) {
        (try folder.byteCount(of: batch.output), try folder.byteCount(of: batch.errors))
    }

    /// Adds the answer of a request.
    func add(_ line: JSONValue) throws(Unwritten) {
        try append(line, to: output) { $0.completed += 1 }
    }

    /// Adds what a request failed with.
    func add(failed line: JSONValue) throws(Unwritten) {
        try append(line, to: errors) { $0.failed += 1 }
    }

    private func append(
        _ line: JSONValue, to file: BatchOutput, _ count: (inout Batch.Counts) -> Void
    ) throws(Unwritten) {
        do {
            try file.append(line)
            try folder.change(id) { count(&$0.counts) }
        } catch { throw Unwritten(reason: error) }
    }

    /// Brings both to the disk.
    ///
    /// - Returns: Their bytes.
    func close() throws -> (output: Int, errors: Int) {
        (try output.close(), try errors.close())
    }
}
